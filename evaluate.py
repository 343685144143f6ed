"""`python evaluate.py RUN` measures a run's best weights on train, val and test; `--trust` says what its answers are worth."""

from foundation.command_line import Parser
from foundation.errors import UserError
from foundation.scripts import run_script


def main():
    arguments = _parse()

    from datasets.catalog import check_name, check_there
    from lab.runs.run import Run

    for name in arguments.unlike:
        check_name(name)
        check_there(name)

    if not arguments.run:
        raise Run.asked_for("evaluate.py", arguments.output_dir)
    run = Run.find(arguments.run, arguments.output_dir, arguments.weights_dir)

    from lab.training import experiment

    if arguments.unlike:
        from lab.trust.unlike import sets_for

        sets_for(run.read_config(), arguments.unlike)  # refuses the run's own before anything is measured

    if arguments.download:
        experiment.load_as(run.read_config())
    experiment.evaluate(run)
    if arguments.tta:
        experiment.evaluate_views(run)
    if arguments.average_checkpoints:
        experiment.evaluate_average(run)
    if arguments.trust:
        from lab.trust.report import report

        report(run, arguments.unlike)


def _parse():
    parser = Parser(description="Measure a finished run on whole splits, without augmentation.")
    parser.add_argument("run", nargs="?", help="name of the run, or the path of its output folder; none: list them")
    parser.add_argument("--output-dir", default="output", help="where runs lie (default: output)")
    parser.add_argument("--weights-dir", help="where their weights lie (default: where they were trained to)")
    parser.add_argument(
        "--tta", action="store_true", help="also average answers over several views of each image: metrics-tta.json"
    )
    parser.add_argument(
        "--average-checkpoints", action="store_true", help="also measure the mean of the kept checkpoints: metrics-average.json"
    )
    parser.add_argument("--trust", action="store_true", help="also measure what its answers are worth: trust.json and trust.html")
    parser.add_argument(
        "--unlike",
        action="append",
        default=[],
        metavar="DATASET",
        help="with --trust: a data set that shows none of the run's classes (default: shapes and digits)",
    )
    parser.add_argument("--download", action="store_true", help="fetch the run's data set first, where it is not here")
    arguments = parser.parse_args()
    if arguments.unlike and not arguments.trust:
        raise UserError("--unlike goes with --trust")
    return arguments


if __name__ == "__main__":
    run_script(main)
