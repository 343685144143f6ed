"""Estimate of the duration of a run, from a few of its steps on random images."""

import tempfile
import time
from dataclasses import replace
from functools import lru_cache

from datasets.catalog import expected
from foundation import stopwatch
from foundation.settings import Config
from lab.benchmarks.random_images import data_set, random_split
from lab.runs.run import Run
from lab.training.chosen import with_batch_size
from lab.training.fitting import Trainer, build
from lab.training.precision import fewest_pixels, settle

START_UP = time.process_time()  # seconds of imports up to here; a run needs the same imports
STEPS = 4  # in a timed call; a CUDA graph is recorded in the call before
CALLS = 3  # timed, of which the fastest counts: other work on the machine only adds time

# Settings that change neither what a step computes nor, beyond the numbers of images and classes, on what.
WITHOUT_WORK = [
    "dataset",
    "data_dir",
    "class_seed",
    "val_fraction",
    "group_by",
    "images_per_class",
    "image_size",
    "start_size",
    "growth_epochs",
    "init_from",
    "backbone_rate",
    "epochs",
    "start_epoch",
    "seed",
    "init_lr",
    "momentum",
    "class_weights",
    "monitor",
    "schedule",
    "warmup_epochs",
    "label_smoothing",
    "early_stopping_patience",
    "run",
    "output_dir",
    "weights_dir",
    "checkpoint_minutes",
    "max_minutes",
    "keep_checkpoints",
]


def seconds_of(config):
    """Return the seconds that a run takes on this machine from start to end, or None if the data set's size is not known yet.

    Runs whose steps compute the same share one measurement. The estimate assumes that val has one ninth as many images as train
    and is measured after each epoch.
    """
    size = expected(config.dataset, config.image_size)
    if size is None:
        return None
    whole, pixels, classes = size
    images = min(whole, config.images_per_class * classes or whole)
    return START_UP + seconds_of_images(config, images, whole / 9, pixels, classes)


def seconds_of_images(config, images, val, pixels, classes, batch_size=0):
    """Return the seconds that a run trains on so many images of train and measures val and, at the end, train.

    Test is small beside them. With a `batch_size` a step of so many images is measured, and one of the run taken in proportion.
    """
    config = with_batch_size(config, images)
    measured = replace(config, batch_size=batch_size or config.batch_size)
    training, measuring = _measure(_work_of(measured), pixels, classes)
    step = training * config.batch_size / measured.batch_size
    return config.epochs * -(-images // config.batch_size) * step + (config.epochs * val + images) * measuring


def seconds_of_step(config, pixels, classes, batch_size) -> float:
    """Return the seconds of a training step of so many images."""
    return _measure(_work_of(replace(config, batch_size=batch_size)), pixels, classes)[0]


def _work_of(config):
    """Return a config that is equal for all runs whose steps compute the same."""
    usual = Config()
    mixing = {name: float(getattr(config, name) > 0) for name in ("mixup_alpha", "cutmix_alpha")}
    return replace(config, **{name: getattr(usual, name) for name in WITHOUT_WORK}, **mixing)


@lru_cache
def _measure(config, pixels, classes):
    """Return the seconds of a training step, and those that measuring an image takes."""
    with tempfile.TemporaryDirectory() as folder:
        split = random_split(config.batch_size * STEPS, pixels, classes)
        dataset = data_set(split, split, classes)
        config = settle(replace(config, output_dir=folder, weights_dir=folder), dataset.train.images.shape, fewest_pixels())
        trainer = Trainer(config, Run.of(config), dataset, build(config, dataset))
        training = _seconds(lambda: trainer.model.fit(trainer.batches, shuffle=False, verbose=0)) / STEPS
        measuring = _seconds(lambda: trainer.model.evaluate(trainer.val, verbose=0)) / len(split)
    return training, measuring


def _seconds(call):
    """Return the seconds of the fastest of CALLS calls, after one that warms up."""
    call()
    return min(stopwatch.seconds_of(call) for _ in range(CALLS))
