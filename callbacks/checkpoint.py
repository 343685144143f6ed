"""Callback that decides when a checkpoint is written; `lab.runs.checkpoints` writes it."""

import signal
import time

import keras

from callbacks.averaging import fetch_weights
from foundation import replicas

STARTED = time.monotonic()  # start of the process, nearly: this file is imported before data is read
TIME_IS_UP = 124  # the exit code of the command `timeout`


class Interrupted(Exception):
    """Raised in a run that was asked to stop, after a step and with everything written. It carries the exit code."""

    def __init__(self, exit_code):
        super().__init__(exit_code)
        self.exit_code = exit_code


class Checkpoint(keras.callbacks.Callback):
    """Writes a checkpoint after every epoch and every `minutes`, and one before it ends the run.

    The run ends after the step in which SIGINT or SIGTERM came, or in which `max_minutes` since the start of the process were
    over (0: no limit). `save` is called with (finished epochs, finished steps of the next one). The write is atomic: see
    `lab.runs.checkpoints`. If one of several processes that train together is asked to stop, all stop at the same step.
    """

    agreement = 8  # steps between two exchanges in which processes tell one another whether to stop

    def __init__(self, save, batches, minutes=0.0, max_minutes=0.0):
        super().__init__()
        self.save = save
        self.batches = batches
        self.interval = 60 * minutes or float("inf")
        self.deadline = STARTED + (60 * max_minutes or float("inf"))
        self.signal = None
        self.saved = time.monotonic()

    def on_train_batch_begin(self, batch, logs=None):
        # Called before a step instead of after the last one: Keras may run the latter in a thread, during the next step.
        steps = self.batches.first_step + batch
        if batch == 0 or (replicas.PROCESSES > 1 and batch % self.agreement):
            return
        exit_code, is_time = replicas.all_reduce_max(self._exit_code(), time.monotonic() - self.saved > self.interval)
        if not (exit_code or is_time):
            return
        fetch_weights(self.model)
        self._save(self.batches.epoch, steps, exit_code)

    def on_epoch_end(self, epoch, logs=None):
        self._save(epoch + 1, 0, *replicas.all_reduce_max(self._exit_code()))

    def _save(self, epoch, step, exit_code):
        self.save(epoch, step)
        self.saved = time.monotonic()
        if exit_code and not self.model.stop_training:
            raise Interrupted(exit_code)

    def _exit_code(self):
        """Return the exit code with which the process should end now, or 0 to go on."""
        if self.signal is not None:
            return 128 + self.signal
        return TIME_IS_UP if time.monotonic() > self.deadline else 0

    def __enter__(self):
        """Handle the signals while the block runs. A second signal goes to the previous handler."""
        self.previous = {number: signal.signal(number, self._notice) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        self._give_back()

    def _notice(self, number, frame):
        self.signal = number
        self._give_back()

    def _give_back(self):
        for number, handler in self.previous.items():
            signal.signal(number, handler)
