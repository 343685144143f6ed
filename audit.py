"""`python audit.py folder:PATH` looks for what spoils a data set: repeated pictures, leaks, shortcuts and wrong labels."""

from foundation.command_line import Parser
from foundation.scripts import run_script


def main():
    parser = Parser(description=__doc__)
    parser.add_argument("dataset", nargs="?", help="folder:PATH, or another data set's name (default: that of the run named)")
    parser.add_argument(
        "--labels",
        nargs="?",
        const="train",
        metavar="RUN",
        help="also name probable label errors: five networks with the settings of RUN are trained, each on four fifths of the "
        "pictures, and asked about the rest; without a name, or train: with the shipped settings and those of --set",
    )
    parser.add_argument(
        "--without-leaks", metavar="RUN", help="also measure RUN without the pictures that an earlier split holds"
    )
    parser.add_argument("--group-by", help="what names the group of a picture, as in train.py")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="other settings of train.py")
    parser.add_argument(
        "--output-dir", default="output", help="where runs lie; pages go to its subfolder audit (default: output)"
    )
    arguments = parser.parse_args()
    settings = arguments.set + ([f"group_by={arguments.group_by}"] if arguments.group_by else [])

    from datasets.catalog import CATALOG
    from lab.auditing.audit import audit, settle_question

    dataset, labels = arguments.dataset, arguments.labels
    if labels and not dataset and labels.partition(":")[0] in CATALOG:  # `--labels folder:PATH`, which argparse takes for a run
        dataset, labels = labels, "train"
    config, run = settle_question(dataset, settings, labels, arguments.without_leaks, arguments.output_dir)
    print(f"open {audit(config, labels, run, arguments.output_dir)}")


if __name__ == "__main__":
    run_script(main)
