"""One line that says how far a run is, how fast, and how long it will take."""

import math
import sys
import time

import keras

from callbacks.averaging import wait_for_device
from foundation.grammar import duration


class Progress(keras.callbacks.Callback):
    """A live line within the epoch (on a terminal, a few times a second) and one that stays for every epoch."""

    async_safe = True
    interval = 0.5  # seconds between two updates of the live line
    needs_state = ""  # without, only what is shown of the past is missing

    def __init__(self, batches, epochs, stream=None):
        super().__init__()
        self.batches = batches
        self.epochs = epochs
        self.stream = stream or sys.stdout
        self.images_per_second = 0.0
        self.trained_seconds = 0.0
        self.trained_images = 0
        self.waits_for = None  # model whose device is waited for
        self.began = math.inf  # of the running epoch, as if it had not been stopped in between; infinite between epochs
        self.interrupted_after = 0.0  # seconds that the epoch to come has taken already
        # of every epoch: of its training steps, and how long it took with validation
        self.speed = {"epoch": [], "images_per_second": [], "seconds": []}

    def set_model(self, model):
        # `self.model` would, on jax, fetch the weights from the step that runs: Keras calls `on_train_batch_end` in another
        # thread, and the next step has begun by then.
        super().set_model(model)
        self.waits_for = model

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.shown = time.perf_counter()
        self.began = self.shown - self.interrupted_after
        # images whose training time the checkpoint of an older version did not record
        unknown = 0 if self.interrupted_after else self.batches.first_step * self.batches.batch_size
        self.before = min(unknown, len(self.batches.split))
        self.interrupted_after = 0.0

    def on_train_batch_end(self, batch, logs=None):
        done = min((self.batches.first_step + batch + 1) * self.batches.batch_size, len(self.batches.split))
        is_last = done == len(self.batches.split)
        if is_last:
            wait_for_device(self.waits_for)
        now = time.perf_counter()
        if is_last:
            self._measure(now, done)
        if is_last or now - self.shown < self.interval or not self.stream.isatty():
            return
        self.shown = now
        speed = (done - self.before) / (now - self.began)
        left = (len(self.batches.split) - done) / speed
        run_left = left + (self.epochs - self.epoch - 1) * (len(self.batches.split) / speed)
        self._write(
            f"\repoch {self.epoch + 1}/{self.epochs}  {done:,}/{len(self.batches.split):,} images  {_metrics(logs)}  "
            f"{speed:,.0f} images/s  epoch {duration(left)} left, run {duration(run_left)} left \033[K"
        )

    def _measure(self, now, done):
        self.trained_seconds += now - self.began
        self.trained_images += done - self.before
        self.images_per_second = (done - self.before) / (now - self.began)

    def on_epoch_end(self, epoch, logs):
        self.speed["epoch"].append(epoch + 1)
        self.speed["images_per_second"].append(self.images_per_second)
        seconds = time.perf_counter() - self.began
        self.speed["seconds"].append(seconds)
        left = (self.epochs - epoch - 1) * seconds * len(self.batches.split) / max(len(self.batches.split) - self.before, 1)
        start = "\r\033[K" if self.stream.isatty() else ""
        self._write(
            f"{start}epoch {epoch + 1}/{self.epochs}  {_metrics(logs)}  lr {logs['learning_rate']:.2g}  "
            f"{self.images_per_second:,.0f} images/s  {duration(seconds)}  run {duration(left)} left\n"
        )
        self.began = math.inf

    def _write(self, text):
        self.stream.write(text)
        self.stream.flush()

    def get_state(self):
        running = max(time.perf_counter() - self.began, 0.0)
        finished = {"seconds": self.trained_seconds, "images": self.trained_images, "speed": self.speed}
        return finished | {"interrupted_after": running}

    def set_state(self, state):
        self.trained_seconds, self.trained_images = state["seconds"], state["images"]
        self.speed, self.interrupted_after = state["speed"], state["interrupted_after"]


def _metrics(logs):
    shown = []
    for prefix, name in (("", "train"), ("val_", "val")):
        if f"{prefix}loss" in logs:
            loss, accuracy = float(logs[f"{prefix}loss"]), float(logs[f"{prefix}accuracy"])
            shown.append(f"{name} loss {loss:.4f} acc {100 * accuracy:5.2f}%")
    return "  ".join(shown)
