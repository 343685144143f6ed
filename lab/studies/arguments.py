"""Command line of study.py: options of every study, and those that each way of asking brings."""

import math

from foundation.command_line import Parser
from foundation.errors import UserError
from foundation.grammar import listed
from lab.studies import asked, by_looks, factorial, search

# {option: (engines that use it, default)}
OF_ENGINES = {
    "jobs": (("local",), 1),
    "cpus": (("ray", "slurm"), 1),
    "gpus": (("ray", "slurm"), 0),
    "minutes": (("slurm",), 240),
    "address": (("ray",), None),
}
LOWEST = {"seeds": 1, "jobs": 1, "cpus": 1, "gpus": 0, "minutes": 1, "most_seeds": by_looks.LEAST, "trials": 1, "trial_seeds": 3}
# Ways to ask without a study's file: {name on the command line: its module, which has OPTIONS, add_arguments and study_of}.
ASKED = {"compare": asked, "factorial": factorial, "search": search}


def read_arguments():
    """Return the checked arguments. Raises UserError."""
    arguments = _parser().parse_args()
    for name, lowest in LOWEST.items():
        count = getattr(arguments, name)
        if count is not None and count < lowest:
            raise UserError(f"{_flag(name)} is {count}, allowed: at least {lowest}")
    for name in ("margin", "detect"):
        points = getattr(arguments, name)
        if points is not None and not 0 < points < math.inf:
            raise UserError(f"{_flag(name)} is {points:g}, allowed: points above 0, such as 0.5")
    for name, (engines, default) in OF_ENGINES.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
        elif arguments.engine not in engines:
            raise UserError(
                f"{_flag(name)} is not for engine '{arguments.engine}', allowed with: --engine {' or '.join(engines)}"
            )
    by_looks.check(arguments)
    _check_asked(arguments)
    return arguments


def _check_asked(arguments):
    """Raise a UserError for an option of another way to ask."""
    for option in {option for module in ASKED.values() for option in module.OPTIONS}:
        takers = [name for name, module in ASKED.items() if option in module.OPTIONS]
        if arguments.name is not None and arguments.name not in takers and getattr(arguments, option):
            shown = "RUN" if option == "runs" else _flag(option)
            allowed = listed([f"python study.py {taker}" for taker in takers])
            raise UserError(f"{shown} is not for study '{arguments.name}', allowed with: {allowed}")


def _flag(name):
    return "--" + name.replace("_", "-")


def _parser():
    parser = Parser(description="Answer a question by runs and statistics; without a name, list the questions.")
    parser.add_argument("name", nargs="?", help=f"a study, or {' or '.join(ASKED)}, which ask without a file; none: list all")
    _add_of_studies(parser.add_argument_group("every study"))
    by_looks.add_arguments(parser.add_argument_group("a study that stops when it knows"))
    for name, module in ASKED.items():
        module.add_arguments(parser.add_argument_group(name))
    _add_of_engines(parser.add_argument_group("where runs are trained"))
    return parser


def _add_of_studies(group):
    group.add_argument(
        "--scale", help="smoke (minutes), cpu (an evening on two cores) or full (default: cpu, or the study's only)"
    )
    group.add_argument("--seeds", type=int, help="repetitions of every arm (default: the scale's)")
    group.add_argument(
        "--margin", type=float, help="points of test accuracy: arms shown to differ by less are called the same (default: none)"
    )
    group.add_argument("--data", help="another data set than the scale's, such as folder:PATH")
    group.add_argument("--data-dir", help="where data sets lie (default: data)")
    group.add_argument("--epochs", type=int, help="epochs of every run (default: the scale's)")
    group.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="settings that all arms get")
    group.add_argument("--arms", nargs="+", default=["*"], metavar="ARM", help="names, or shell wildcards (default: all arms)")
    group.add_argument("--output-dir", default="output", help="where runs and reports go (default: %(default)s)")
    group.add_argument("--dry-run", action="store_true", help="show the runs and how long they would take")
    group.add_argument("--report", action="store_true", help="train nothing: report what is finished")
    group.add_argument(
        "--publish", action="store_true", help="write a record of each finished run, a few kB, to results/<study>/<scale>/"
    )
    group.add_argument("--published-dir", default="results", help="where published records lie (default: %(default)s)")
    group.add_argument(
        "--results",
        metavar="FILE",
        help="write the published results of all studies, or of the one named, to a file such as RESULTS.md",
    )


def _add_of_engines(group):
    group.add_argument("--jobs", type=int, help="runs at once on this machine, which share its cores and memory (default: 1)")
    group.add_argument(
        "--engine",
        choices=("local", "ray", "slurm"),
        default="local",
        help="local: processes of this machine; ray: tasks of a Ray cluster; slurm: writes array jobs (default: %(default)s)",
    )
    group.add_argument(
        "--address", help="address of the Ray cluster, such as auto or ray://head:10001 (default: one on this machine)"
    )
    group.add_argument("--cpus", type=int, help="CPU cores for each run by ray or slurm (default: 1)")
    group.add_argument("--gpus", type=int, help="GPUs for each run by ray or slurm (default: 0)")
    group.add_argument("--minutes", type=int, help="time limit of a Slurm job (default: 240)")
