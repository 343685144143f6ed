"""Estimate of the duration of a run, from a few of its steps on random images."""

import tempfile
import time
from dataclasses import replace

from benchmarks.random_images import data_set, random_split
from datasets.catalog import expected
from training.fitting import Trainer, build
from training.run import Run

START_UP = time.process_time()  # seconds of imports up to here; a run needs the same imports
STEPS = 4  # timed steps, after as many warm-up steps: a CUDA graph is recorded by then


def seconds_of(config):
    """Return the seconds that a run takes on this machine from start to end, or None if the data set's size is not known yet.

    The estimate assumes that val has one ninth as many images as train and is measured after each epoch.
    """
    size = expected(config.dataset, config.image_size)
    if size is None:
        return None
    whole, pixels, classes = size
    images = min(whole, config.images_per_class * classes or whole)
    with tempfile.TemporaryDirectory() as folder:
        config = replace(config, output_dir=folder, weights_dir=folder, start_size=0, growth_epochs=0.0)
        split = random_split(config.batch_size * STEPS, pixels, classes)
        dataset = data_set(split, split, classes)
        trainer = Trainer(config, Run.of(config), dataset, build(config, dataset))
        training = _seconds(lambda: trainer.model.fit(trainer.batches, shuffle=False, verbose=0)) / STEPS
        measuring = _seconds(lambda: trainer.model.evaluate(trainer.val, verbose=0)) / len(split)
    measured = config.epochs * whole / 9 + images  # val and at the end train; test is small beside them
    return START_UP + config.epochs * -(-images // config.batch_size) * training + measured * measuring


def _seconds(call):
    """Return the seconds of the second of two calls; the first call warms up."""
    call()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
