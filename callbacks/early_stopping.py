"""Best epoch on val, and early stopping."""

import keras


class BestEpoch(keras.callbacks.Callback):
    """Remembers the epoch with the best "val_accuracy", "val_f1_macro" or "val_loss".

    Of equal epochs, the one with the lowest val loss counts. With a patience above 0, the callback ends the run after that many
    epochs without a better one.
    """

    needs_state = "which epoch was the best so far is not known"

    def __init__(self, patience, monitor="val_accuracy"):
        super().__init__()
        self.patience = patience
        self.monitor = monitor
        self.epoch, self.value = None, None

    def on_epoch_end(self, epoch, logs=None):
        value = _value(logs, self.monitor)
        if self.value is None or value > self.value:
            self.epoch, self.value = epoch, value
        if self.is_over(epoch + 1):
            self.model.stop_training = True

    def is_over(self, epochs):
        """Return whether a run with this many finished epochs has waited `patience` epochs for a better one."""
        return bool(self.patience) and self.epoch is not None and epochs - 1 - self.epoch >= self.patience

    def get_state(self):
        return {"epoch": self.epoch, "value": self.value}

    def set_state(self, state):
        self.epoch, self.value = state["epoch"], state["value"]


def best_epoch(history, monitor) -> int | None:
    """Return the epoch that a BestEpoch chose, counted from 0, or None before the first.

    `history` holds a list for each metric.
    """
    values = [_value({name: history[name][i] for name in ("val_loss", monitor)}, monitor) for i in range(len(history["epoch"]))]
    return values.index(max(values)) if values else None


def _value(logs, monitor):
    """Return what epochs are compared by, larger is better: the monitored metric (unless val loss), then minus the val loss."""
    return [float(logs[monitor])] * (monitor != "val_loss") + [-float(logs["val_loss"])]
