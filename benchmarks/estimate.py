"""How long a run will take, from a few of its steps on random images."""

import tempfile
import time
from dataclasses import replace

from benchmarks.random_images import data_set, random_split
from datasets.catalog import expected
from training.fitting import Trainer, build
from training.run import Run

START_UP = time.process_time()  # seconds: what this process imported until here, a run imports too
STEPS = 4  # timed, after as many that warm up: a CUDA graph is recorded by then


def seconds_of(config):
    """Seconds that a run takes on this machine, from start to end; None where the data set's size is not known beforehand.

    A ninth of the images left for training is taken for val, which is measured after each epoch.
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
    """Of the second call: the first warms up."""
    call()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
