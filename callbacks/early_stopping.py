"""The best epoch on val, and the end of a run that stopped getting better."""

import keras


class BestEpoch(keras.callbacks.Callback):
    """Remembers the epoch of the best "val_accuracy", "val_f1_macro" (of equal ones, that of the lowest val loss) or "val_loss".

    With a patience above 0, ends the run after so many epochs without a better one.
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
        """Whether a run of so many finished epochs has waited long enough for a better one."""
        return bool(self.patience) and self.epoch is not None and epochs - 1 - self.epoch >= self.patience

    def get_state(self):
        return {"epoch": self.epoch, "value": self.value}

    def set_state(self, state):
        self.epoch, self.value = state["epoch"], state["value"]


def best_epoch(history, monitor):
    """The epoch that a BestEpoch chose, counted from 0; `history` holds a list for each of the logs."""
    values = [_value({name: history[name][i] for name in ("val_loss", monitor)}, monitor) for i in range(len(history["epoch"]))]
    return values.index(max(values)) if values else None


def _value(logs, monitor):
    """The larger, the better."""
    return [float(logs[monitor])] * (monitor != "val_loss") + [-float(logs["val_loss"])]
