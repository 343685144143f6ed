"""`python export.py RUN` writes a finished run as ONNX, .keras, a web page and more, all checked."""

import os

from foundation.command_line import Parser
from foundation.errors import UserError, unknown
from foundation.scripts import run_script
from lab.exporting.runtimes import IF_ASKED, RUNTIMES

FORMATS = f"which, with commas between them (default: %(default)s; if asked for: {', '.join(IF_ASKED)})"
LOSS = "accuracy on val that a format of 8 bits may lose, in points (default: %(default)s)"


def main():
    parser = Parser(description="Export a finished run; every format is re-loaded and compared on real images.")
    parser.add_argument("run", nargs="?", help="name of the run, or the path of its output folder; none: list them")
    parser.add_argument("--formats", default=",".join(name for name in RUNTIMES if name not in IF_ASKED), help=FORMATS)
    parser.add_argument("--allow-loss", type=float, default=1.0, metavar="POINTS", help=LOSS)
    parser.add_argument("--output-dir", default="output", help="where runs lie (default: output)")
    parser.add_argument("--weights-dir", help="where their weights lie (default: where they were trained to)")
    arguments = parser.parse_args()
    formats = [name.strip() for name in arguments.formats.split(",") if name.strip()]
    for name in formats:
        if name not in RUNTIMES:
            raise unknown("format", name, RUNTIMES)
    if not formats:
        raise UserError(f"--formats is empty, allowed: {', '.join(RUNTIMES)}")
    # Torch reads its own operations for ONNX; weights of any backend load under it.
    os.environ["KERAS_BACKEND"] = "torch"

    from lab.runs.run import Run

    if not arguments.run:
        raise Run.asked_for("export.py", arguments.output_dir)
    run = Run.find(arguments.run, arguments.output_dir, arguments.weights_dir)
    run.check_finished()

    from lab.exporting.export import export

    export(run, dict.fromkeys(formats), arguments.allow_loss)


if __name__ == "__main__":
    run_script(main)
