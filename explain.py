"""`python explain.py RUN` shows what a trained network looks at: pages of maps for each class, and how good the maps are."""

from foundation.command_line import Parser, count
from foundation.errors import UserError
from foundation.paths import typed_path
from foundation.scripts import run_script

COUNT, SAMPLE = 5, 200


def main():
    arguments = _parse()

    from lab.runs.run import Run

    names = ([arguments.run] if arguments.run else []) + arguments.runs
    if not names:
        raise Run.asked_for("explain.py", arguments.output_dir)
    layers = [name.strip() for name in arguments.layers.split(",")] if arguments.layers else None

    from lab.explanations.choice import check_method, run_of
    from lab.exporting.predict import find_images

    check_method(arguments.method)  # what can be told before anything that takes seconds to import
    runs = [run_of(name, arguments.output_dir, arguments.weights_dir) for name in names]
    files, notes = find_images(list(map(typed_path, arguments.images))) if arguments.images else ([], [])

    from lab.explanations.examples import shown_classes
    from lab.explanations.gallery import Gallery
    from lab.explanations.network import networks_of
    from lab.runs.environment import typed_command

    networks = networks_of(runs, layers, arguments.method)
    gallery = Gallery(networks, getattr(arguments, "class"), typed_command())
    if arguments.images:
        for note in notes:
            print(f"note: {note}")
        page = gallery.show_pictures(files)
    else:
        class_names = arguments.classes or shown_classes(networks[0])
        page = gallery.show_classes(class_names, arguments.count or COUNT, arguments.sample or SAMPLE)
    print(f"open {page}")


def _parse():
    parser = Parser(description=__doc__)
    parser.add_argument("run", nargs="?", help="name or folder of a run; a wildcard takes the best one on val; none: list them")
    parser.add_argument(
        "--run", dest="runs", action="append", default=[], help="a network to show beside another one: --run A --run B"
    )
    parser.add_argument(
        "--images", nargs="+", metavar="FILE", help="explain these pictures, or folders of them, instead of val's"
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="classes that get a page (default: the 7 with the most errors; of indian_birds, the study's)",
    )
    parser.add_argument("--count", type=count, help=f"right and wrong answers shown of each class (default: {COUNT})")
    parser.add_argument(
        "--class",
        default="predicted",
        metavar="NAME",
        help="class whose evidence is shown: predicted (default), true, or a name (class:true for a class called true)",
    )
    parser.add_argument(
        "--layers", help="layers whose maps are averaged, NAME[,NAME...], or last-stage (default: the last feature map)"
    )
    parser.add_argument("--method", default="grad-cam", help="grad-cam (default), grad-cam++, hirescam or layercam")
    parser.add_argument("--sample", type=count, help=f"val images that the maps are measured on (default: {SAMPLE})")
    parser.add_argument("--output-dir", default="output", help="where runs lie (default: output)")
    parser.add_argument("--weights-dir", help="where their weights lie (default: where they were trained to)")
    arguments = parser.parse_args()
    if arguments.images:
        for name in ("classes", "count", "sample"):
            if getattr(arguments, name) is not None:
                raise UserError(f"--{name} is for pictures of val, and --images names others: leave out one of them")
    return arguments


if __name__ == "__main__":
    run_script(main)
