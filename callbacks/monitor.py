"""Training monitor: curves for a person to watch while a network trains."""

import time
import warnings

import keras

from foundation import replicas
from foundation.style import NEUTRAL, TRAIN, VAL, legend_below, log_where_exploded, over_epochs, sheet

READING = (
    "Where val gets worse while train gets better, the network learns its training images by heart. Train is measured on "
    "augmented images while the weights change, val on whole ones after each epoch, so val may be the better of the two."
)


class TrainingMonitor(keras.callbacks.Callback):
    """Keeps the history; after every epoch it rewrites `history.json` and redraws `training.png`, each by one rename.

    `speed.json` holds the measurements of `progress`. It is a separate file because times differ between runs of the same
    command and histories do not. `run` is the `lab.runs.run.Run` that the files belong to. A file that can't be written or drawn
    causes a warning and does not end the run. Drawing takes longer than a short epoch, so `training.png` is drawn at most every
    `interval` seconds, and at the end.
    """

    interval = 5.0
    needs_state = "the metrics of the epochs so far are not known"

    def __init__(self, run, best, progress, title, train_labels=""):
        super().__init__()
        self.run = run
        self.best = best
        self.progress = progress
        self.title = title
        self.train_labels = train_labels
        self.history = {"epoch": []}
        self.drawn_at = float("-inf")
        self.drawn = 0  # epochs in the picture

    def on_epoch_end(self, epoch, logs):
        self.history["epoch"].append(epoch + 1)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        self._publish(is_drawn=time.monotonic() - self.drawn_at >= self.interval)

    def publish(self):
        """Write the files from the history so far, which checkpoints hold too."""
        self._publish(is_drawn=self.drawn != len(self.history["epoch"]))

    def _publish(self, is_drawn):
        if replicas.RANK:
            return
        try:
            self.run.write_json("history.json", self.history)
            self.run.write_json("speed.json", self.progress.speed)
            if is_drawn and self.history["epoch"]:
                self.run.write_figure("training.png", draw_training(self.history, self.best.epoch, self.title, self.train_labels))
                self.drawn_at, self.drawn = time.monotonic(), len(self.history["epoch"])
        except Exception as error:
            warnings.warn(f"history.json, speed.json or training.png could not be written: {error}", stacklevel=2)

    def get_state(self):
        return self.history

    def set_state(self, state):
        self.history = state


def draw_training(history, best_epoch, title, train_labels=""):
    """Draw loss, accuracy, F1 (if it is recorded) and learning rate against epochs; mark the chosen epoch (counted from 0)."""
    figure = sheet(width_of(history), 4.2, title, READING)
    plot_training(figure, history, best_epoch, train_labels)
    return figure


def width_of(history):
    """Return the width of a run's curves in inches."""
    return 14.6 if "f1_macro" in history else 11


def plot_training(figure, history, best_epoch, train_labels=""):
    """Plot the axes of `draw_training` on a figure or a part of one; return them."""
    has_f1 = "f1_macro" in history
    loss, accuracy, *f1, rate = figure.subplots(1, 3 + has_f1, width_ratios=(3, 3, *(3,) * has_f1, 2))
    plot_losses(loss, history, train_labels)
    plot_accuracies(accuracy, history, best_epoch)
    for axes in f1:
        _plot_both(axes, history, "f1_macro", 100)
        axes.set(title="Macro F1", ylabel="macro F1 (%)")
    rate.plot(history["epoch"], history["learning_rate"], color=NEUTRAL, **_line(history))
    rate.set(title="Learning rate", ylabel="at the end of the epoch")
    rate.set_ylim(bottom=0)
    over_epochs(rate)
    legend_below(figure, accuracy)
    return loss, accuracy, *f1, rate


def labels_of_train(config) -> str:
    """Return how train's labels differ from val's, which raises train's loss: "smoothed and mixed", or empty."""
    changes = {"smoothed": config.label_smoothing, "mixed": config.mixup_alpha or config.cutmix_alpha}
    return " and ".join(change for change, is_made in changes.items() if is_made)


def plot_losses(axes, history, train_labels=""):
    """Plot the cross-entropy of train and val against epochs.

    The axis says if the labels of train are changed, see `labels_of_train`.
    """
    _plot_both(axes, history, "loss", 1)
    axes.set(title="Loss", ylabel=f"cross-entropy (train: {train_labels} labels)" if train_labels else "cross-entropy")
    log_where_exploded(axes)


def plot_accuracies(axes, history, best_epoch):
    """Plot the accuracy of train and val in percent against epochs; mark the chosen epoch (counted from 0; None: none yet)."""
    _plot_both(axes, history, "accuracy", 100)
    if best_epoch is not None and best_epoch < len(history["epoch"]):
        value = 100 * history["val_accuracy"][best_epoch]
        axes.plot(best_epoch + 1, value, "*", color=VAL, markersize=15, markeredgecolor="white", zorder=3)
        axes.axhline(value, color=VAL, linewidth=0.8, alpha=0.5)
        axes.plot([], [], "*", color=VAL, markersize=10, label=f"chosen epoch {best_epoch + 1}: val {value:.2f} %")
    axes.set(title="Accuracy", ylabel="accuracy (%)")


def _plot_both(axes, history, name, scale):
    for prefix, colour, shown, line in (("", TRAIN, "train (augmented)", "--"), ("val_", VAL, "val", "-")):
        values = [scale * value for value in history[prefix + name]]
        axes.plot(history["epoch"], values, line, color=colour, label=shown, **_line(history))
    over_epochs(axes)


def _line(history):
    return {"marker": "o" if len(history["epoch"]) <= 40 else None, "markersize": 3.5, "linewidth": 1.8}
