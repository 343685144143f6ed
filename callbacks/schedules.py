"""Learning-rate schedules: the rate of every step as a table, and the callbacks that follow it."""

import keras
import numpy as np
from keras import ops

from foundation.grammar import counted


def learning_rates(schedule, init_lr, epochs, steps_per_epoch, warmup_epochs):
    """Return the learning rate of every step, `(epochs * steps_per_epoch,)` float32. Plateau starts constant: see `Plateau`."""
    epoch = np.arange(epochs * steps_per_epoch) / steps_per_epoch
    shares = SCHEDULES[schedule](epoch, epochs, capped_warmup(warmup_epochs, epochs))
    return (init_lr * shares).astype("float32")


def capped_warmup(warmup_epochs, epochs):
    """Return the epochs in which a rate rises: a fifth of a run that ends before it would have risen."""
    return warmup_epochs if warmup_epochs < epochs else epochs / 5


def warmup_note(schedule, warmup_epochs, epochs) -> str:
    """Return a line that says that the warm-up was cut; empty where the run is long enough, or its rate does not rise."""
    capped = capped_warmup(warmup_epochs, epochs)
    if capped == warmup_epochs or schedule not in WITH_WARMUP:
        return ""
    return f"warmup_epochs {warmup_epochs:g} is too long for a run of {counted(epochs, 'epoch')}: the rate rises over {capped:g}"


def _resnet(epoch, epochs, warmup_epochs):
    """He et al. 2015, section 4.2: a tenth for the first epoch, then 1, 1/10 from half and 1/100 from three quarters on."""
    shares = np.select([epoch < epochs / 2, epoch < epochs * 3 / 4], [1.0, 0.1], default=0.01)
    return np.where(epoch < min(1, epochs / 2), 0.1, shares)


def _cosine(epoch, epochs, warmup_epochs):
    """Return half a cosine from 1 to 0 (Loshchilov & Hutter 2017, eq. 5, one period) after a linear rise."""
    return 0.5 * (1.0 + np.cos(np.pi * _passed(epoch, epochs, warmup_epochs))) * _risen(epoch, warmup_epochs)


def _linear(epoch, epochs, warmup_epochs):
    """Return a straight line from 1 to 0 after a linear rise: best for few epochs (Li et al. 2020, budgeted training)."""
    return (1.0 - _passed(epoch, epochs, warmup_epochs)) * _risen(epoch, warmup_epochs)


def _risen(epoch, warmup_epochs):
    """Return the share that the warm-up has reached: from 0 to 1 in a straight line, then 1."""
    return np.where(epoch < warmup_epochs, epoch / max(warmup_epochs, 1e-9), 1.0)


def _passed(epoch, epochs, warmup_epochs):
    """Return the share of the epochs after the warm-up that has passed."""
    return np.maximum(epoch - warmup_epochs, 0.0) / (epochs - warmup_epochs)


def _onecycle(epoch, epochs, warmup_epochs):
    """Smith & Topin 2018: up from 1/25 over three tenths of the run (or the warm-up, if longer), then down to 1/10,000."""
    top = max(0.3 * epochs, warmup_epochs)
    rise, fall = np.clip(epoch / top, 0, 1), np.clip((epoch - top) / (epochs - top), 0, 1)
    up = 1 / 25 + (1 - 1 / 25) * 0.5 * (1 - np.cos(np.pi * rise))
    down = 1e-4 + (1 - 1e-4) * 0.5 * (1 + np.cos(np.pi * fall))
    return np.where(epoch < top, up, down)


def _constant(epoch, epochs, warmup_epochs):
    return np.ones_like(epoch)


WITH_WARMUP = ("cosine", "linear", "onecycle")
SCHEDULES = {
    "resnet": _resnet,
    "cosine": _cosine,
    "linear": _linear,
    "onecycle": _onecycle,
    "plateau": _constant,
    "constant": _constant,
}


@keras.saving.register_keras_serializable("reslab")
class TableSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The rate of step i is `rates[i]`; past the table's end, its last."""

    def __init__(self, rates):
        self.rates = np.asarray(rates, "float32")
        self.table = ops.convert_to_tensor(self.rates)  # on the device, so that a step there need not wait for it

    def __call__(self, step):
        return ops.take(self.table, ops.minimum(ops.cast(step, "int32"), len(self.rates) - 1))

    def get_config(self):
        return {"rates": self.rates.tolist()}


class LearningRateLog(keras.callbacks.Callback):
    """Adds `learning_rate` to the logs of every step and epoch, from the table on the host: the device is not asked."""

    async_safe = True

    def __init__(self, rates, batches, plateau=None):
        super().__init__()
        self.rates = rates
        self.batches = batches
        self.plateau = plateau
        self.steps_per_epoch = batches.steps_per_epoch

    def on_train_batch_end(self, batch, logs):
        logs["learning_rate"] = self.rate(self.batches.epoch * self.steps_per_epoch + self.batches.first_step + batch)

    def on_epoch_end(self, epoch, logs):
        logs["learning_rate"] = self.rate((epoch + 1) * self.steps_per_epoch - 1)

    def rate(self, step):
        """Return the learning rate of a step, counted from the first of the run."""
        return float(self.rates[min(step, len(self.rates) - 1)]) * (self.plateau.factor if self.plateau else 1.0)


class Plateau(keras.callbacks.Callback):
    """Lowers the learning rate to a fifth when val loss has not improved by 1e-4 for five epochs."""

    patience, ratio, least_gain = 5, 0.2, 1e-4
    needs_state = "how often the learning rate was lowered is not known"

    def __init__(self, init_lr):
        super().__init__()
        self.init_lr = init_lr
        self.factor, self.best, self.waited = 1.0, None, 0

    def on_train_begin(self, logs=None):
        self.model.optimizer.learning_rate = self.init_lr * self.factor

    def on_epoch_end(self, epoch, logs):
        loss = float(logs["val_loss"])
        if self.best is None or loss < self.best - self.least_gain:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.factor, self.waited = self.factor * self.ratio, 0
            self.model.optimizer.learning_rate = self.init_lr * self.factor

    def get_state(self):
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def set_state(self, state):
        self.factor, self.best, self.waited = state["factor"], state["best"], state["waited"]
