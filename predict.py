"""`python predict.py RUN|FILE.onnx IMAGE|FOLDER...` classifies image files: a table, or `--csv FILE`."""

import argparse
import sys
from pathlib import Path

from foundation.errors import UserError, printable
from foundation.files import write_file
from foundation.scripts import run_script


def main():
    parser = argparse.ArgumentParser(description="Classify image files by a finished run or an exported ONNX file.")
    parser.add_argument("network", metavar="RUN|FILE", help="name of a run, path of its output folder, or a .onnx file")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--top", type=int, default=5, help="so many classes of each (default: %(default)s)")
    parser.add_argument("--csv", type=Path, help="write to this file instead of the terminal")
    parser.add_argument("--output-dir", default="output", help="where runs lie (default: output)")
    parser.add_argument("--weights-dir", help="where their weights lie (default: where they were trained to)")
    arguments = parser.parse_args()
    if arguments.top < 1:
        raise UserError(f"--top is {arguments.top}, allowed: at least 1")

    from lab.exporting.predict import as_csv, classify, find_images, line

    files, notes = find_images(arguments.images)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    network = _network(arguments)
    top = min(arguments.top, len(network.class_names))
    width = min(max(len(printable(file)) for file in files), 60)
    found, broken = [], 0
    for file, classes, fault in classify(network, files, top):
        if fault:
            broken += 1
            print(f"error: {printable(file)}: {printable(fault)}", file=sys.stderr)
        elif arguments.csv:
            found.append((file, classes))
        else:
            print(line(file, classes, width), flush=True)
    if arguments.csv:
        write_file(arguments.csv, as_csv(found, top))
        print(f"written to {arguments.csv}")
    return 2 if broken else 0


def _network(arguments):
    from lab.exporting.predict import OnnxNetwork, RunNetwork

    if arguments.network.endswith(".onnx"):
        return OnnxNetwork(arguments.network)
    from lab.runs.run import Run

    return RunNetwork(Run.find(arguments.network, arguments.output_dir, arguments.weights_dir))


if __name__ == "__main__":
    run_script(main)
