"""Speed, measured in turns within one run, and cost: `python benchmark.py throughput | latency | cost | input | epoch | ...`."""

from foundation.command_line import Parser
from foundation.scripts import run_script
from lab.benchmarks import cost, epoch, families, growth, input_side, latency, norms, profile, scaling, throughput

# Each measurement has `add_arguments(command)`, and `run(arguments)`, whose docstring is its help.
MEASUREMENTS = {
    "throughput": throughput,
    "latency": latency,
    "cost": cost,
    "input": input_side,
    "epoch": epoch,
    "families": families,
    "growth": growth,
    "norms": norms,
    "profile": profile,
    "scaling": scaling,
}


def main():
    parser = Parser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, measurement in MEASUREMENTS.items():
        sentence = measurement.run.__doc__
        measurement.add_arguments(commands.add_parser(name, help=sentence, description=sentence))
    arguments = parser.parse_args()
    MEASUREMENTS[arguments.command].run(arguments)


if __name__ == "__main__":
    run_script(main)
