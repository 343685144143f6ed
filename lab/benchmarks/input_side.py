"""Input pipeline alone. Keras is imported only when it is measured."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.dataset import Split
from datasets.decoded import decoded
from foundation.stopwatch import seconds_of
from lab.benchmarks import arguments as common
from lab.benchmarks.random_images import data_set, random_split


@dataclass
class Case:
    """A set of random images and the network that trains on them."""

    what: str
    model: str
    image_size: int
    classes: int
    batch: int
    images: int
    is_in_file: bool


CASES = (
    Case("32x32, on the device", "resnet20", 32, 10, 128, 50_000, False),
    Case("256x256, decoded folder", "resnet6n2", 256, 25, 32, 4_000, True),
)


def add_arguments(command):
    common.add_repetitions(command)
    common.add_precision(command)


def run(arguments):
    """Measure the input pipeline alone: images per second that it makes, and images per second that a network takes."""
    for case in CASES:
        made, taken, ratio = medians(measure(case, arguments.repetitions, arguments.precision))
        print(f"{case.what + ':':28} {made:9,.0f} images/s; {case.model} takes {taken:7,.0f}: {ratio:.1f} times", flush=True)


def measure(case, repetitions, precision):
    """Return (images per second made, images per second taken) for each repetition, measured in turns."""
    from datasets.batches import TrainingBatches
    from lab.benchmarks.contestants import make_contestant

    with tempfile.TemporaryDirectory() as folder:
        batches = TrainingBatches(_random_set(case, Path(folder)), case.batch, seed=0)
        train = make_contestant("ours", case.model, case.image_size, case.classes, case.batch, precision, "auto")
        steps = max(256 // case.batch, 2)
        _make(batches, 2)
        train(2)
        return [(_make(batches, 8 * steps), case.batch * steps / seconds_of(lambda: train(steps))) for _ in range(repetitions)]


def _make(batches, count):
    def make():
        for step in range(count):
            images, _ = batches[step]
        assert np.isfinite(float(images[0, 0, 0, 0]))  # reading a value waits for the device

    return count * batches.batch_size / seconds_of(make)


def _random_set(case, folder):
    random = np.random.default_rng(0)
    size, count = case.image_size, case.images

    def draw(i):
        return random.integers(0, 256, (size, size, 3), "uint8"), i % case.classes

    if case.is_in_file:
        images, labels, _ = decoded(folder / "set", count, draw, size, "random images")
        split = Split(images, labels)
    else:
        split = random_split(count, size, case.classes)
    return data_set(split, split, case.classes)


def medians(pairs):
    """Return the medians of images per second made, of images per second taken, and of their ratio."""
    made, taken = np.array(pairs).T
    return float(np.median(made)), float(np.median(taken)), float(np.median(made / taken))
