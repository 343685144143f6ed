"""Trainings of a few steps, each from the same weights: what Karpathy 2019 asks of a network before a long run."""

import contextlib
from dataclasses import replace

import keras
import numpy as np

from callbacks.averaging import copy_of, fetch_weights
from callbacks.schedules import TableSchedule
from datasets.augment import Augmentation
from datasets.batches import TrainingBatches
from foundation import replicas
from lab.optimizers.optimizer import make_optimizer
from lab.training.rate_finder import Enough, StepLosses

# What a run does to its images, labels and weights besides learning: a trial looks at plain images and labels.
PLAIN = {"label_smoothing": 0.0, "class_weights": "none", "ema_decay": 0.0, "accumulate": 1, "weight_decay": 0.0}


class Steps(keras.utils.PyDataset):
    """Whole batches of train, without augmentation: those of so many steps, or one batch again and again.

    With `is_blank` images are all zero: what is then learned, is learned of the labels alone.
    """

    def __init__(self, batches, count, is_one=False, is_blank=False):
        super().__init__()
        self.batches, self.count, self.is_one, self.is_blank = batches, count, is_one, is_blank
        self.whole = max(len(batches.split) // batches.batch_size, 1)

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        self.batches.epoch, step = (0, 0) if self.is_one else divmod(i, self.whole)
        images, labels = self.batches[step]
        return (images * 0.0 if self.is_blank else images), labels


class GradientNorms(keras.callbacks.Callback):
    """Keeps the largest L2 norm of each kernel's gradient over the steps of a training: `largest` is {path: norm}."""

    def __init__(self):
        super().__init__()
        self.largest = {}

    def on_train_batch_begin(self, batch, logs=None):
        if batch:  # not after a step, as Keras may call that in a thread, during the next one
            self._look_back()

    def on_epoch_end(self, epoch, logs=None):
        self._look_back()

    def _look_back(self):
        fetch_weights(self.model)
        norms = copy_of(self.model.optimizer.gradient_norms).tolist()
        for variable, norm in zip(self.model.trainable_variables, norms, strict=True):
            if variable.name == "kernel":
                self.largest[variable.path] = max(norm, self.largest.get(variable.path, 0.0))


class Trial:
    """A network that is trained for some steps by the optimizer of a config and then given its first weights again."""

    def __init__(self, config, dataset, model):
        self.config, self.dataset, self.model = replace(config, **PLAIN), dataset, model
        self.first = [copy_of(variable) for variable in model.variables]
        plain = Augmentation("none", max_shift=0)
        self.batches = TrainingBatches(dataset, min(config.batch_size, len(dataset.train)), config.seed, plain)

    def restore(self):
        """Give the model its first weights, and forget the compiled steps, which belong to the last optimizer."""
        for variable, value in zip(self.model.variables, self.first, strict=True):
            variable.assign(value)
        self.model.release_memory()

    def losses(self, rates, is_over=lambda losses: False, callbacks=(), **which):
        """Return the losses `(steps,)` of a training by these rates, one a step; see Steps for `which` batches."""
        self.restore()
        with replicas.on_all_devices():
            self.model.compile(make_optimizer(self.config, TableSchedule(rates)))
        self.model.log_interval = 0.0
        recorder = StepLosses(is_over)
        steps = Steps(self.batches, len(rates), **which)
        with contextlib.suppress(Enough):
            self.model.fit(steps, callbacks=[*callbacks, recorder], shuffle=False, verbose=0)
        return np.array(recorder.losses)
