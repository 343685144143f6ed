"""Checks of what a run costs: precision that its device computes in, hours, memory; and of weights that nothing trains."""

import math

from datasets.batches import RESIDENT, at_once
from foundation.grammar import duration
from lab.benchmarks.cost import mebibytes
from lab.benchmarks.estimate import seconds_of_images, seconds_of_step
from lab.benchmarks.memory import available_bytes
from lab.training.backends import HAS_OWN_STEP
from lab.training.fitting import build
from lab.training.precision import note_on_emulation
from lab.trust.findings import finding, skipped

FEW_IMAGES = 32  # of 64x64 in a first, quick measurement; fewer of larger ones
MEASURED_STEPS = 16  # of training, in the measurement that an estimate rests on


def check_transfer(config):
    """Frozen layers keep the weights that they begin with, which should be those of another network."""
    name = "frozen layers"
    if config.freeze == "none":
        return skipped(name, "every layer is trained")
    source = f"weights of {config.init_from}" if config.init_from else "random weights"
    sentence = f"{config.freeze} keeps {source}"
    if not config.init_from:
        sentence += ": freeze without init_from trains a classifier of random features"
    return finding(name, bool(config.init_from), sentence)


def check_precision(config):
    """The settled precision is one that the device computes in."""
    note = note_on_emulation(config)
    return finding("precision", not note, f"{config.precision}{f': {note}' if note else ''}")


def seconds_of_an_image(config, dataset) -> float:
    """Return the seconds of training that an image takes in a step of few images."""
    few = _few(config, dataset)
    return seconds_of_step(config, dataset.image_shape[0], dataset.classes, few) / few


def _few(config, dataset):
    return max(min(config.batch_size, at_once(dataset.image_shape, FEW_IMAGES)), 2)


def check_time(config, dataset, image_seconds, seconds):
    """Duration of the whole run, from steps on random images; of fewer images where the measurement took over `seconds`."""
    is_whole = MEASURED_STEPS * config.batch_size * image_seconds <= seconds
    few = 0 if is_whole else _few(config, dataset)
    sizes = len(dataset.train), len(dataset.val), dataset.image_shape[0], dataset.classes
    found = seconds_of_images(config, *sizes, batch_size=few)
    limit = config.max_minutes * 60 or math.inf
    sentence = f"about {duration(found)} for {config.epochs} epochs of {len(dataset.train):,} images"
    if few:
        sentence += f" (measured with {few} images a step)"
    if found > limit:
        sentence += f"; max_minutes ends it after {duration(limit)}, and the same command goes on"
    return finding("time", True, sentence, seconds=round(found, 1))


def check_memory(config, dataset):
    """Peak memory of a step against what is free; images that are kept on the device count too."""
    name = "memory"
    if not HAS_OWN_STEP:
        return skipped(name, "only torch tells it without computing")
    from lab.benchmarks.tensor_memory import peak_bytes

    try:
        _, step = peak_bytes(build(config, dataset), config.batch_size)
    except (RuntimeError, NotImplementedError) as error:  # operations that torch can't run on fake tensors
        return skipped(name, f"torch can't tell: {error}")
    kept = sum(split.nbytes for split in (dataset.train, dataset.val) if split.nbytes <= RESIDENT)
    try:
        needed, free = step + kept, available_bytes()
    except OSError:
        return skipped(name, "this system does not tell its free memory")
    sizes = [f"{mebibytes(size)} MiB" for size in (needed, step, kept, free)]
    sentence = "about {}: a step takes {}, images {}; {} are free".format(*sizes)
    is_well = needed <= free
    if not is_well:
        sentence += ": too little, choose a smaller batch_size"
    return finding(name, is_well, sentence, needed_bytes=needed, free_bytes=free)
