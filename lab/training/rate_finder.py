"""The learning rate range test (Smith 2017, section 3.3): a short training whose rate rises until the loss explodes."""

import contextlib

import keras
import numpy as np

from foundation.style import COLOURS, NEUTRAL, TRAIN, legend_below, plain, sheet
from lab.training.fitting import Trainer

LOWEST, HIGHEST, STEPS = 1e-5, 10.0, 150
MEMORY = 0.95  # of the running mean that smooths the losses
NEAR = 0.05  # as a share of the lowest smoothed loss
EXPLODED = 4.0  # times the lowest smoothed loss


class StepLosses(keras.callbacks.Callback):
    """Keeps the loss of every step; ends training, by `Enough`, after a loss that is not finite or where `is_over(losses)`."""

    def __init__(self, is_over=lambda losses: False):
        super().__init__()
        self.losses, self.is_over = [], is_over
        self.total = 0.0

    def on_train_batch_end(self, batch, logs):
        # What Keras shows is the mean over the epoch so far; batches are of one size but an epoch's last.
        total = float(logs["loss"]) * (batch + 1)
        self.losses.append(total - self.total if batch else total)
        self.total = total
        if not np.isfinite(total) or self.is_over(self.losses):
            raise Enough


class Enough(Exception):
    """The test has seen what it needs."""


class Smoothed:
    """Running mean of losses; `is_over(losses)` when it has exploded or there are `most` losses."""

    def __init__(self, most):
        self.most, self.mean, self.values = most, 0.0, []

    def is_over(self, losses):
        self.mean = MEMORY * self.mean + (1 - MEMORY) * losses[-1]
        self.values.append(self.mean / (1 - MEMORY ** len(losses)))
        return len(losses) == self.most or self.values[-1] > EXPLODED * min(self.values)


def find_rate(config, run, dataset, model, steps=STEPS):
    """(rates, losses, smoothed losses, suggestion); the model is of no use afterwards.

    The suggestion is a tenth of the last rate at which the smoothed loss was within NEAR of its lowest: well before it
    explodes, also for a network that was trained before and only gets worse.
    """
    rates = np.geomspace(LOWEST, HIGHEST, steps).astype("float32")
    trainer = Trainer(config, run, dataset, model, rates)
    model.log_interval = 0.0  # the finder looks at every step
    smoothed = Smoothed(steps)
    finder = StepLosses(smoothed.is_over)
    with contextlib.suppress(Enough):
        model.fit(trainer.batches, epochs=steps, callbacks=[finder], shuffle=False, verbose=0)
    count = len(finder.losses) - (0 if np.isfinite(finder.losses[-1]) else 1)
    means = np.array(smoothed.values[:count])
    suggestion = rates[np.flatnonzero(means <= (1 + NEAR) * means.min())[-1]] / 10
    return rates[:count], np.array(finder.losses[:count]), means, float(f"{suggestion:.2g}")


def draw_rates(rates, losses, smoothed, suggestion, title):
    """Loss against learning rate, the suggestion marked."""
    figure = sheet(7, 4.2, title, "Left of the dashed line training is slow; where the smoothed loss turns up, it falls apart.")
    axes = figure.subplots()
    axes.plot(rates, losses, color=NEUTRAL, linewidth=0.8, alpha=0.6, label="loss of a step")
    axes.plot(rates, smoothed, color=TRAIN, linewidth=1.8, label="smoothed")
    axes.axvline(suggestion, color=COLOURS[1], linestyle="--", label=f"suggestion {suggestion:g}")
    top = smoothed[: smoothed.argmin() + 1].max() * 1.3
    axes.set(xscale="log", xlabel="learning rate", ylabel="cross-entropy", ylim=(0, top))
    plain(axes)
    legend_below(figure, axes)
    return figure
