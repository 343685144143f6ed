"""`python benchmark.py throughput` measures training steps of ours, stock Keras and hand-written PyTorch in one run."""

import argparse
import json
import os
from pathlib import Path

from errors import UserError, run_script

PRECISIONS = ("float32", "mixed_bfloat16")


def main():
    parser = argparse.ArgumentParser(description="Measure speed: always several contestants in turns, in one run.")
    commands = parser.add_subparsers(dest="command", required=True)
    throughput = commands.add_parser("throughput", help="training steps of ours, stock Keras and hand-written PyTorch")
    throughput.set_defaults(run=run_throughput)
    throughput.add_argument("--model", default="resnet20", help="python dispatcher.py lists all (default: %(default)s)")
    throughput.add_argument("--batch", type=_count, default=128, help="images per step (default: %(default)s)")
    throughput.add_argument("--image-size", type=_count, default=32, help="height and width in pixels (default: %(default)s)")
    throughput.add_argument("--classes", type=_count, default=10, help="number of classes (default: %(default)s)")
    throughput.add_argument("--precision", choices=PRECISIONS, nargs="+", default=PRECISIONS, help="default: both")
    throughput.add_argument("--steps", type=_count, default=20, help="steps in a turn (default: %(default)s)")
    throughput.add_argument("--repetitions", type=_count, default=5, help="turns of each (default: %(default)s)")
    throughput.add_argument("--json", type=Path, help="also write the measurements to this file")
    throughput.add_argument("--plot", type=Path, default=Path("output/benchmark/throughput.png"), help="(default: %(default)s)")
    arguments = parser.parse_args()
    arguments.run(arguments)


def _count(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def run_throughput(arguments):
    import config  # noqa: F401  selects the backend
    import dispatcher
    from benchmarks import throughput

    dispatcher.architecture_of(arguments.model)
    has_gpu = _has_gpu()
    measurements = throughput.measure(
        arguments.model,
        arguments.batch,
        list(dict.fromkeys(arguments.precision)),
        os.environ["KERAS_BACKEND"],
        image_size=arguments.image_size,
        classes=arguments.classes,
        modes=("eager", "compile", "graph") if has_gpu else ("eager",),
        steps=arguments.steps,
        repetitions=arguments.repetitions,
    )
    _print_throughput(measurements)
    if arguments.json:
        _write(arguments.json, (json.dumps([m.record() for m in measurements], indent=1) + "\n").encode())
    from benchmarks.figures import draw_throughput

    _draw(arguments.plot, draw_throughput(measurements))


def _has_gpu():
    import torch

    return torch.cuda.is_available()


def _print_throughput(measurements):
    from benchmarks.throughput import LABELS, fastest, speed_ratio

    print(f"\n{'contestant':22} {'precision':15} {'mode':8} {'ms/step':>8} {'quartiles':>15} {'images/s':>9} {'memory MB':>10}")
    for m in measurements:
        low, high = m.quartiles
        print(
            f"{LABELS[m.name]:22} {m.precision:15} {m.mode:8} {m.ms_per_step:8.1f} {low:7.1f}-{high:<7.1f} "
            f"{m.images_per_second:9,.0f} {m.peak_memory_mb:10,.0f}"
        )
    print()
    precisions = list(dict.fromkeys(m.precision for m in measurements))
    for precision in precisions:
        ours = fastest(measurements, "ours", precision)
        for name in ("torch", "keras"):
            _print_ratio(f"ours / {LABELS[name]}, {precision}", speed_ratio(ours, fastest(measurements, name, precision)))
    if len(precisions) > 1:
        best = min((fastest(measurements, "ours", precision) for precision in precisions), key=lambda m: m.ms_per_step)
        stock = fastest(measurements, "keras", "float32")
        _print_ratio(f"ours in {best.precision} / {LABELS['keras']} in float32", speed_ratio(best, stock))


def _print_ratio(what, ratio):
    median, low, high = ratio
    print(f"{what + ':':62} {median:.2f} times as fast ({low:.2f} to {high:.2f})")


def _draw(path, figure):
    import io

    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=130)
    _write(path, picture.getvalue())
    print(f"drawn in {path}")


def _write(path, data):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error}") from error


if __name__ == "__main__":
    run_script(main)
