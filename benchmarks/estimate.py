"""How long a run will take, from a few of its steps on random images."""

import tempfile
import time
from dataclasses import replace

import numpy as np

from benchmarks.random_images import data_set, random_split
from datasets.catalog import expected
from training.fitting import Trainer, build
from training.run import Run

STEPS = 3


def seconds_of(config):
    """Seconds that the training of a run takes on this machine; None where the data set's size is not known beforehand."""
    size = expected(config.dataset, config.image_size)
    if size is None:
        return None
    images, pixels, classes = size
    images = min(images, config.images_per_class * classes or images)
    with tempfile.TemporaryDirectory() as folder:
        config = replace(config, output_dir=folder, weights_dir=folder, start_size=0, growth_epochs=0.0)
        split = random_split(min(config.batch_size * (STEPS + 1), 4096), pixels, classes)
        dataset = data_set(split, split, classes)
        trainer = Trainer(config, Run.of(config), dataset, build(config, dataset))
        step = trainer.model.make_train_function()
        batches = [trainer.batches[i] for i in range(len(trainer.batches))]
        _run(step, batches[:1])  # warms up
        began = time.perf_counter()
        _run(step, batches[1:])
        seconds = (time.perf_counter() - began) / (len(batches) - 1)
    return seconds * config.epochs * -(-images // config.batch_size)


def _run(step, batches):
    for images, labels in batches:
        logs = step([(images, _tensor(labels))])
    assert np.isfinite(float(logs["loss"]))  # has waited for the device


def _tensor(labels):
    import keras

    return keras.ops.convert_to_tensor(np.asarray(labels, "float32"))
