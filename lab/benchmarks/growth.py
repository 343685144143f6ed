"""Growth of cost: of an epoch with its images, of memory with large images, of a step with depth and with the batch.

Keras is imported only in the processes that measure.
"""

import itertools
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foundation.errors import UserError
from foundation.files import as_json, write_file
from lab.benchmarks import arguments as common
from lab.benchmarks.random_images import data_set, random_split
from lab.benchmarks.throughput import marginal_seconds, steps_of_a_turn
from lab.benchmarks.worker import Worker

LARGE, CLASSES = 256, 10  # height and width of large images in pixels; classes of random images
STEPS = ("depth", "batch")  # sweeps that measure training steps, as `benchmark.py throughput` does
FEWEST_STEPS = 4  # of a turn
BEND = 0.15  # a slope between neighbours that differs so much from the sweep's is told


@dataclass(frozen=True)
class Sweep:
    """A cost measured at several sizes. Its slope is that of log cost by log size: 1 if proportional, 0 if constant."""

    size: str
    cost: str
    sizes: tuple[int, ...]
    ideal: float  # the slope that the cost should have
    is_memory: bool = False


SWEEPS = {
    "images": Sweep("images of 32x32 pixels", "seconds an epoch", (5_000, 10_000, 20_000, 50_000), 1.0),
    "memory": Sweep(
        f"images of {LARGE}x{LARGE} pixels", "peak memory in MiB", (1_000, 3_000, 10_000, 30_000), 0.0, is_memory=True
    ),
    "depth": Sweep("layers of the network", "seconds a step", (20, 32, 56, 110), 1.0),
    "batch": Sweep("images a step", "seconds a step", (8, 32, 128, 512, 1024), 1.0),
}


def add_arguments(command):
    command.add_argument("--sweeps", choices=SWEEPS, nargs="+", default=list(SWEEPS), help="default: all")
    command.add_argument("--sizes", type=common.count, nargs="+", help="sizes of a single sweep, in place of its own")
    common.add_model(command)
    common.add_batch(command)
    common.add_repetitions(command, 3)
    common.add_precision(command)
    command.add_argument("--json", type=Path, help="also write the measurements to this file")
    command.add_argument("--plot", type=Path, default=Path("output/benchmark/growth.png"), help="default: %(default)s")


def run(arguments):
    """Measure how cost grows: an epoch with images, memory with large images, a step with depth and with the batch."""
    if arguments.sizes and len(arguments.sweeps) > 1:
        raise UserError("--sizes are those of a single sweep: name it by --sweeps")
    from foundation.style import image_of
    from lab.benchmarks.figures import draw_growth

    found = {}
    for name in arguments.sweeps:
        found[name] = measure(name, arguments.sizes or SWEEPS[name].sizes, arguments)
        print("\n".join(describe(SWEEPS[name], found[name])), flush=True)
    if arguments.json:
        write_file(arguments.json, as_json({name: [summary(*point) for point in each] for name, each in found.items()}))
    write_file(arguments.plot, image_of(draw_growth({SWEEPS[name]: each for name, each in found.items()}), "png"))
    print(f"drawn in {arguments.plot}; dashed is how cost should grow; where the curve is flatter, a fixed cost outweighs")


def summary(size, costs):
    """Return what `--json` says of a size: the median of its costs and their quartiles."""
    low, middle, high = np.percentile(costs, (25, 50, 75)).tolist()
    return {"size": size, "cost": middle, "quartiles": [low, high]}


def measure(name, sizes, arguments):
    """Return [(size, costs of all repetitions)]. Each size has a process of its own, and they take turns."""
    costs = {size: [] for size in sizes}
    with ExitStack() as stack:
        turns = {size: _turn(name, stack.enter_context(_worker(name, size, arguments))) for size in sizes}
        for _, (size, turn) in itertools.product(range(arguments.repetitions), turns.items()):
            costs[size].append(turn())
    return list(costs.items())


def _worker(name, size, arguments):
    how = {"model": arguments.model, "batch": arguments.batch, "precision": arguments.precision}
    if name not in STEPS:
        return Worker(name, "torch", module=__name__, size=size, **how)
    how |= {"model": f"resnet{size}"} if name == "depth" else {"batch": size}
    return Worker("ours", "torch", image_size=32, classes=CLASSES, mode="auto", **how)


def _turn(name, worker):
    """Start a worker; return a function that measures the cost once."""
    worker.start()
    if name in STEPS:
        steps = steps_of_a_turn(worker, FEWEST_STEPS)
        return lambda: marginal_seconds(worker, steps)[0]
    return lambda: worker.run(1)["peak_memory_mb" if SWEEPS[name].is_memory else "returned"]


def slopes(points):
    """Return (slope of log cost by log size by least squares, slopes between neighbours) of [(size, costs)]."""
    size = np.log([size for size, _ in points])
    cost = np.log([np.median(costs) for _, costs in points])
    return float(np.polyfit(size, cost, 1)[0]), (np.diff(cost) / np.diff(size)).tolist()


def describe(sweep, points):
    """Yield a line for each size, one with the slope, and one for each bend."""
    for found in (summary(*point) for point in points):
        low, high = found["quartiles"]
        yield f"{found['size']:8,} {sweep.size:26} {found['cost']:10.4g} {sweep.cost} (quartiles {low:.4g} to {high:.4g})"
    if len(points) < 2:
        return
    whole, between = slopes(points)
    meaning = "proportional to" if sweep.ideal else "independent of"
    yield f"slope {whole:.2f}, where {sweep.ideal:.0f} means {sweep.cost} {meaning} {sweep.size}"
    for (first, _), (second, _), slope in zip(points, points[1:], between, strict=False):
        if abs(slope - whole) > BEND:
            yield f"it bends: slope {slope:.2f} from {first:,} to {second:,}"


def make_contestant(name, size, model, batch, precision):
    """Return `run(turns)` of a sweep over images: it returns the seconds of an epoch, or nothing where memory is what counts."""
    import keras

    keras.config.set_dtype_policy(precision)
    return _epochs(size, model, batch, precision) if name == "images" else _large_images(size, batch)


def _epochs(images, model, batch, precision):
    from foundation.settings import Config
    from foundation.stopwatch import seconds_of
    from lab.benchmarks.contestants import SameBatch
    from lab.benchmarks.epoch import trainer_of

    stack = ExitStack()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    config = Config(model=model, batch_size=batch, precision=precision, epochs=1000, schedule="constant")
    config = replace(config, run="growth", output_dir=f"{folder}/output", weights_dir=f"{folder}/weights")
    trainer = trainer_of(stack, data_set(random_split(images, 32, CLASSES), random_split(1_000, 32, CLASSES), CLASSES), config)
    few, epochs = SameBatch(*trainer.batches[0]), itertools.count()

    def run(turns):
        _ = stack  # the folder lasts as long
        epoch = next(epochs)
        if not epoch:  # the first turn warms up
            few.steps = 3
            return seconds_of(lambda: trainer.model.fit(few, shuffle=False, verbose=0))
        return seconds_of(lambda: trainer.fit_epochs(epoch - 1, epoch))

    return run


def _large_images(images, batch):
    from datasets.batches import TrainingBatches
    from datasets.dataset import Split
    from datasets.decoded import decoded
    from lab.benchmarks.contestants import make_contestant as contestant

    folder = tempfile.TemporaryDirectory()
    pixels = np.random.default_rng(0).integers(0, 256, (1 << 20) + LARGE * LARGE * 3, "uint8")

    def draw(i):
        start = 7919 * i % (1 << 20)
        return pixels[start : start + LARGE * LARGE * 3].reshape(LARGE, LARGE, 3), i % CLASSES

    made, labels, _ = decoded(Path(folder.name) / "set", images, draw, LARGE, "random images")
    split = Split(made, labels)
    batches = TrainingBatches(data_set(split, split, CLASSES), min(batch, 32), seed=0)
    train = contestant("ours", "resnet6n2", LARGE, CLASSES, min(batch, 32), "float32", "auto")

    def run(turns):
        _ = folder
        for step in range(len(batches)):
            batches[step]
        train(2)

    return run
