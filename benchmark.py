"""Speed, measured in turns within one run, and cost: `python benchmark.py throughput | latency | cost | input | epoch | ...`."""

import argparse
import json
import os
from pathlib import Path
from typing import get_args

import dispatcher
from foundation.errors import UserError
from foundation.scripts import run_script
from foundation.settings import SETTINGS

PRECISIONS = ("float32", "mixed_bfloat16")
RUNTIMES = ("eager", "compiled", "onnx", "jax")
PARTS = ("norm", "activation", "stem", "attention", "shortcut")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for run in FLAGS:
        command = commands.add_parser(run.__name__.removeprefix("run_"), help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        FLAGS[run](command)
    arguments = parser.parse_args()
    arguments.run(arguments)


def run_throughput(arguments):
    """Compare training steps of Reslab, of stock Keras `fit` and of a hand-written PyTorch loop."""
    from lab.benchmarks.twins import check_twins

    check_twins(dispatcher.architecture_of(arguments.model))
    from lab.benchmarks import throughput
    from lab.benchmarks.figures import draw_throughput
    from lab.runs.run import image_of

    precisions, backend = list(dict.fromkeys(arguments.precision)), os.environ["KERAS_BACKEND"]
    turns = precisions, backend, arguments.steps, arguments.repetitions
    measurements = throughput.measure_batches(_network(arguments), dict.fromkeys(arguments.batch), *turns)
    if arguments.json:
        _write_json(arguments.json, [m.record() for m in measurements])
    _write(arguments.plot, image_of(draw_throughput(measurements), "png"))
    print(f"drawn in {arguments.plot}")


def run_input(arguments):
    """Measure the input pipeline alone: images per second that it makes, and images per second that a network takes."""
    from lab.benchmarks import input_side

    for case in input_side.CASES:
        made, taken, ratio = input_side.medians(input_side.measure(case, arguments.repetitions, arguments.precision))
        print(f"{case.what + ':':28} {made:9,.0f} images/s; {case.model} takes {taken:7,.0f}: {ratio:.1f} times", flush=True)


def run_epoch(arguments):
    """Measure a whole epoch (augmentation, validation, checkpoint, plot) against its bare steps; also with gradients recorded."""
    dispatcher.architecture_of(arguments.model)
    from lab.benchmarks import epoch

    sizes = arguments.train_images, arguments.val_images
    triples = epoch.measure(arguments.model, arguments.batch, arguments.precision, *sizes, arguments.repetitions)
    whole, recorded = epoch.surpluses(triples)
    print(f"a whole epoch takes {whole:+.1f} % time over its bare steps (median)")
    print(f"recording gradients (--track-gradients) takes {recorded:+.1f} % more (median)")


def run_norms(arguments):
    """Compare our norms, forward and backward, with PyTorch's own operations."""
    _demand_torch("norms measures against torch's operations")
    from lab.benchmarks import norms

    print(f"time of ours / time of PyTorch's, float32: median of {arguments.processes} processes (lowest to highest)")
    print(norms.HEADER)
    for name in norms.PEERS:
        print(norms.row(name, norms.measure(name, arguments.processes, arguments.repetitions)), flush=True)


def run_profile(arguments):
    """Show the time of one of our training steps by kind of operation."""
    dispatcher.architecture_of(arguments.model)
    _demand_torch("profile reads torch's own records")
    from lab.benchmarks import contestants, profile

    run = contestants.make_contestant("ours", **_network(arguments), precision=arguments.precision, mode="eager")
    print(profile.table(profile.measure(run, arguments.steps)))


def run_latency(arguments):
    """Measure the milliseconds that networks take for one image and for a batch, under several runtimes."""
    names, latencies = _models(arguments.models), []
    from lab.benchmarks import latency

    for name in names:
        size = arguments.image_size or dispatcher.architecture_of(name).image_size
        network = {"model": name, "image_size": size, "classes": arguments.classes}
        for batch in dict.fromkeys((1, arguments.batch)):
            how = arguments.runtimes, (False, True)[: 1 + arguments.fold], arguments.calls, arguments.warm_ups, arguments.threads
            latencies += latency.measure(network | {"batch": batch}, *how)
    print("\n" + latency.table(latencies))
    print(f"{arguments.threads} threads; " + ", ".join(dict.fromkeys(latency.device for latency in latencies)))
    if arguments.json:
        _write_json(arguments.json, [latency.record() for latency in latencies])


def run_cost(arguments):
    """Count parameters, multiply-accumulates and operations by kind of layer, activations, weights on disk and peak memory."""
    if bool(arguments.runs) == bool(arguments.models):
        raise UserError("cost takes names of models, or --runs with a pattern of finished runs")
    if arguments.runs and arguments.json:
        raise UserError("--json goes with names of models; what runs cost is in their metrics.json")
    _demand_torch("cost finds peak memory with torch's fake tensors")
    if arguments.runs:
        _compare_runs(arguments)
        return
    options = {name: getattr(arguments, name) for name in PARTS if getattr(arguments, name)}
    names, records = _models(arguments.models), []
    from lab.benchmarks import cost

    print(cost.header(arguments.batch))
    for record in cost.measure_all(names, arguments.image_size, arguments.classes, arguments.batch, options):
        records.append(record)
        print(cost.row(record), flush=True)
    if arguments.json:
        _write_json(arguments.json, records)


def run_scaling(arguments):
    """Compute the bytes that processes exchange after every step when they train together, and the time that this takes."""
    names = _models(arguments.models)
    from lab.benchmarks import scaling

    print(scaling.header(arguments.processes))
    for name in names:
        print(scaling.row(*scaling.measure(name, arguments.processes, arguments.classes)), flush=True)


def _compare_runs(arguments):
    from lab.runs.run import Run, image_of

    finished = Run.some_finished(arguments.runs, arguments.output_dir)
    from lab.benchmarks.latency import milliseconds_of
    from lab.reports.accuracy_and_cost import compare

    compared = list(compare(finished, f"finished runs '{arguments.runs}'", milliseconds_of))
    for name, table, figure in compared:
        plot = arguments.plot if len(compared) == 1 else arguments.plot.with_stem(f"{arguments.plot.stem}-{name}")
        _write(plot, image_of(figure, "png"))
        print(f"{name}:\n{table}\n* on the Pareto front; drawn in {plot}")


def _models(patterns):
    """Return the names that match any of the patterns, in the order of the patterns."""
    for pattern in patterns:
        if not dispatcher.list_models(pattern):
            dispatcher.architecture_of(pattern)  # raises with the nearest match
    return list(dict.fromkeys(name for pattern in patterns for name in dispatcher.list_models(pattern)))


def _demand_torch(why):
    if os.environ["KERAS_BACKEND"] != "torch":
        raise UserError(f"{why}: KERAS_BACKEND must be torch")


def _network(arguments):
    return {name: getattr(arguments, name) for name in ("model", "image_size", "classes", "batch")}


def _count(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def _add_model(command):
    command.add_argument("--model", default="resnet20", help="python dispatcher.py lists all (default: %(default)s)")


def _add_network(command):
    _add_model(command)
    command.add_argument("--batch", type=_count, default=128, help="images per step (default: %(default)s)")


def _add_images(command):
    command.add_argument("--image-size", type=_count, default=32, help="height and width in pixels (default: %(default)s)")
    command.add_argument("--classes", type=_count, default=10, help="number of classes (default: %(default)s)")


def _add_turns(command, steps=None, repetitions=5):
    if steps:
        command.add_argument("--steps", type=_count, default=steps, help="steps in a turn (default: %(default)s)")
    command.add_argument("--repetitions", type=_count, default=repetitions, help="turns of each (default: %(default)s)")


def _add_precision(command):
    command.add_argument("--precision", choices=PRECISIONS, default="mixed_bfloat16", help="default: %(default)s")


def _throughput_flags(command):
    _add_model(command)
    command.add_argument("--batch", type=_count, nargs="+", default=[128], help="images per step, one or several (default: 128)")
    _add_images(command)
    _add_turns(command, steps=20)
    command.add_argument("--precision", choices=PRECISIONS, nargs="+", default=PRECISIONS, help="default: both")
    command.add_argument("--json", type=Path, help="also write the measurements to this file")
    command.add_argument("--plot", type=Path, default=Path("output/benchmark/throughput.png"), help="default: %(default)s")


def _input_flags(command):
    _add_turns(command)
    _add_precision(command)


def _epoch_flags(command):
    _add_network(command)
    _add_turns(command, repetitions=3)
    _add_precision(command)
    command.add_argument("--train-images", type=_count, default=45_000, help="of 32x32 pixels (default: %(default)s)")
    command.add_argument("--val-images", type=_count, default=5_000, help="(default: %(default)s)")


def _profile_flags(command):
    _add_network(command)
    _add_images(command)
    _add_precision(command)
    command.add_argument("--steps", type=_count, default=10, help="steps to record (default: %(default)s)")


def _norms_flags(command):
    _add_turns(command, repetitions=15)
    command.add_argument("--processes", type=_count, default=5, help="to measure in, one after another (default: %(default)s)")


def _latency_flags(command):
    command.add_argument("models", nargs="+", metavar="MODEL", help="names or shell wildcards, such as 'se-*20'")
    command.add_argument("--batch", type=_count, default=32, help="images at once, besides one (default: %(default)s)")
    command.add_argument("--image-size", type=_count, help="height and width in pixels (default: what a network was made for)")
    command.add_argument("--classes", type=_count, default=10, help="number of classes (default: %(default)s)")
    command.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES, help="default: all")
    command.add_argument("--fold", action="store_true", help="also with norms folded into the convolutions before them")
    command.add_argument("--calls", type=_count, default=100, help="timed, in turns of ten (default: %(default)s)")
    command.add_argument("--warm-ups", type=_count, default=10, help="calls before them (default: %(default)s)")
    command.add_argument("--threads", type=_count, default=os.cpu_count(), help="of each runtime (default: %(default)s)")
    command.add_argument("--json", type=Path, help="also write the measurements to this file")


def _cost_flags(command):
    command.add_argument("models", nargs="*", metavar="MODEL", help="names or shell wildcards, such as 'se-*20'")
    command.add_argument("--runs", metavar="PATTERN", help="instead: accuracy against cost of the finished runs that match")
    command.add_argument("--output-dir", type=Path, default=Path("output"), help="where runs lie (default: %(default)s)")
    command.add_argument("--plot", type=Path, default=Path("output/benchmark/costs.png"), help="of --runs (default: %(default)s)")
    command.add_argument("--batch", type=_count, default=128, help="images at once, for memory (default: %(default)s)")
    command.add_argument("--image-size", type=_count, help="height and width in pixels (default: what a network was made for)")
    command.add_argument("--classes", type=_count, default=10, help="number of classes (default: %(default)s)")
    for name in PARTS:
        allowed = [value for value in get_args(SETTINGS[name].type) if value != "default"]
        command.add_argument(f"--{name}", choices=allowed, help="default: the model's own")
    command.add_argument("--json", type=Path, help="also write everything, exactly, to this file")


def _scaling_flags(command):
    command.add_argument("models", nargs="+", metavar="MODEL", help="names or shell wildcards, such as 'se-*20'")
    command.add_argument("--processes", type=_count, default=8, help="that train together (default: %(default)s)")
    command.add_argument("--classes", type=_count, default=10, help="number of classes (default: %(default)s)")


FLAGS = {
    run_throughput: _throughput_flags,
    run_latency: _latency_flags,
    run_cost: _cost_flags,
    run_input: _input_flags,
    run_epoch: _epoch_flags,
    run_norms: _norms_flags,
    run_profile: _profile_flags,
    run_scaling: _scaling_flags,
}


def _write_json(path, data):
    _write(path, (json.dumps(data, indent=1) + "\n").encode())


def _write(path, data):
    from lab.runs.run import write_whole

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path.parent, path.name, data)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error}") from error


if __name__ == "__main__":
    run_script(main)
