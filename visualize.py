"""`python visualize.py FIGURE RUN [RUN ...]` draws finished runs or studies; `python visualize.py` lists the figures."""

from dataclasses import fields
from pathlib import Path

from foundation.command_line import Parser
from foundation.errors import UserError
from foundation.paths import short_name
from foundation.scripts import run_script
from lab.reports.pictures import PICTURES, Options, check_name, folder_in, write_pictures


def main():
    arguments = _parse()
    if arguments.demo:
        arguments.figure = arguments.figure or "all"
    if arguments.figure is None:
        for name, picture in PICTURES.items():
            print(f"{name:12} {picture.what}")
        print(f"{'all':12} every one that applies")
        return
    check_name(arguments.figure)
    options = Options(**{field.name: getattr(arguments, field.name) for field in fields(Options)})
    if not arguments.runs and not arguments.demo:
        raise UserError("name a run or a study (or --demo, which trains two)")

    from lab.reports.finished import find_finished

    if arguments.demo:
        from lab.reports.demo import train_demo

        arguments.runs += train_demo(arguments.output_dir, arguments.weights_dir or "weights")
    is_live = arguments.figure != "all" and PICTURES[arguments.figure].is_live
    runs = find_finished(arguments.runs, arguments.output_dir, arguments.weights_dir, is_live)
    together = short_name("+".join(Path(name).name for name in arguments.runs))
    folder_of = folder_in(arguments.output_dir, arguments.figures_dir, together)
    for drawn in write_pictures(arguments.figure, runs, options, folder_of):
        print(f"not drawn: {drawn}" if isinstance(drawn, UserError) else drawn, flush=True)


def _parse():
    parser = Parser(description=__doc__)
    parser.add_argument("figure", nargs="?", help="name of a figure, or 'all'; none: list the figures")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="a run's or a study's name, or the path of its folder")
    parser.add_argument("--demo", action="store_true", help="draw a residual network and its plain twin, trained on digits")
    parser.add_argument("--output-dir", default="output", help="where runs lie (default: %(default)s)")
    parser.add_argument("--weights-dir", help="where their weights lie (default: where each run's settings say)")
    parser.add_argument("--figures-dir", help="where figures go (default: <run>/figures, of several runs output/figures/<names>)")
    parser.add_argument(
        "--split",
        choices=("train", "val", "test"),
        default=Options.split,
        help="split that figures are computed from (default: %(default)s)",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=Options.images,
        help="most images for lesion, landscape and activations (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=Options.seed,
        help="seed of the draw of images and of the landscape's directions (default: %(default)s)",
    )
    parser.add_argument(
        "--grid", type=int, default=Options.grid, help="points along each side of a landscape (default: %(default)s)"
    )
    parser.add_argument(
        "--reach",
        type=float,
        default=Options.reach,
        help="how far a landscape reaches, in lengths of the weights (default: %(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
