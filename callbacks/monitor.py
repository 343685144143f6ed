"""The training monitor: what a person watches while a network trains."""

import warnings

import keras
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

TRAIN, VAL, RATE = "#0072B2", "#D55E00", "#555555"  # told apart by colour-blind eyes and in grey (Okabe & Ito)


class TrainingMonitor(keras.callbacks.Callback):
    """Keeps the history; after every epoch rewrites `history.json` and redraws `training.png`, each by one rename.

    `run` is where they are written (`training.run.Run`). What can't be written or drawn is a warning, never a run's end.
    """

    def __init__(self, run, best, title):
        super().__init__()
        self.run = run
        self.best = best
        self.title = title
        self.history = {"epoch": []}

    def on_epoch_end(self, epoch, logs=None):
        self.history["epoch"].append(epoch + 1)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        self.publish()

    def publish(self):
        """Writes both files from the history as it is; the checkpoints remember it too."""
        try:
            self.run.write_json("history.json", self.history)
            if self.history["epoch"]:
                self.run.write_figure("training.png", draw_training(self.history, self.best.epoch, self.title))
        except Exception as error:
            warnings.warn(f"history.json or training.png could not be written: {error}", stacklevel=2)

    def get_state(self):
        return self.history

    def set_state(self, state):
        self.history = state


def draw_training(history, best_epoch, title):
    """Loss, accuracy, F1 where it is kept and learning rate against epochs, the best epoch on val (counted from 0) marked."""
    curves = [("loss", "Loss", "cross-entropy", 1), ("accuracy", "Accuracy", "accuracy (%)", 100)]
    curves += [("f1_macro", "Macro F1", "macro F1 (%)", 100)] if "f1_macro" in history else []
    figure = Figure(figsize=(11 + 3.6 * (len(curves) - 2), 4.2), layout="constrained")
    *panels, rate = figure.subplots(1, len(curves) + 1, width_ratios=(*[3] * len(curves), 2))
    loss, accuracy = panels[:2]
    epochs = history["epoch"]
    style = {"marker": "o" if len(epochs) <= 40 else None, "markersize": 3.5, "linewidth": 1.8}
    for axes, (name, heading, label, scale) in zip(panels, curves, strict=True):
        for prefix, colour, shown, line in (("", TRAIN, "train (augmented)", "--"), ("val_", VAL, "val", "-")):
            values = [scale * value for value in history[prefix + name]]
            axes.plot(epochs, values, line, color=colour, label=shown, **style)
        axes.set(title=heading, ylabel=label)
    if best_epoch is not None and best_epoch < len(epochs):
        value = 100 * history["val_accuracy"][best_epoch]
        accuracy.plot(best_epoch + 1, value, "*", color=VAL, markersize=15, markeredgecolor="white", zorder=3)
        accuracy.axhline(value, color=VAL, linewidth=0.8, alpha=0.5)
        accuracy.plot([], [], "*", color=VAL, markersize=10, label=f"best val {value:.2f} %, epoch {best_epoch + 1}")
    rate.plot(epochs, history["learning_rate"], color=RATE, **style)
    rate.set(title="Learning rate", ylabel="at the end of the epoch")
    rate.set_ylim(bottom=0)
    for axes in (*panels, rate):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    loss.legend(frameon=False)
    for axes in panels[1:]:
        axes.legend(frameon=False, loc="lower right")
    figure.suptitle(title, fontweight="bold")
    return figure
