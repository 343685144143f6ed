"""`python predict.py RUN|FILE.onnx IMAGE|FOLDER...` classifies image files: a table, or `--csv FILE`, or copies by class."""

import sys

from foundation.command_line import Parser
from foundation.errors import UserError
from foundation.paths import typed_path
from foundation.scripts import run_script


def main():
    arguments = _parse()

    from lab.exporting.predict import classify, find_images
    from lab.trust.predicted import Predicted

    files, notes = find_images(arguments.images)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    network = _network(arguments)
    predicted = Predicted(network, files, arguments)
    for file, classes, fault in classify(network, files, predicted.top):
        predicted.take(file, classes, fault)
    predicted.finish()
    return 2 if predicted.unreadable else 0


def _parse():
    parser = Parser(description="Classify image files by a finished run or an exported ONNX file.")
    parser.add_argument("network", metavar="RUN|FILE", help="name of a run, path of its output folder, or a .onnx file")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--top", type=int, default=5, help="classes to name of each picture (default: %(default)s)")
    parser.add_argument(
        "--threshold", help="refuse less sure answers: a number from 0 to 1, or trust, the run's own threshold for 1 %% error"
    )
    parser.add_argument(
        "--sort-into", type=typed_path, metavar="FOLDER", help="copy each picture into this folder, below it by class"
    )
    parser.add_argument("--explain", action="store_true", help="draw a heat map of each picture: beside its copy, else on a page")
    parser.add_argument("--csv", type=typed_path, help="write the table to this file instead of the terminal")
    parser.add_argument("--output-dir", default="output", help="where runs lie (default: output)")
    parser.add_argument("--weights-dir", help="where their weights lie (default: where they were trained to)")
    arguments = parser.parse_args()
    if arguments.top < 1:
        raise UserError(f"--top is {arguments.top}, allowed: at least 1")
    if arguments.explain and arguments.network.endswith(".onnx"):
        raise UserError("--explain needs a run: an ONNX file has no gradients")
    return arguments


def _network(arguments):
    from lab.exporting.predict import OnnxNetwork, RunNetwork

    if arguments.network.endswith(".onnx"):
        return OnnxNetwork(arguments.network)
    from lab.runs.run import Run

    return RunNetwork(Run.find(arguments.network, arguments.output_dir, arguments.weights_dir))


if __name__ == "__main__":
    run_script(main)
