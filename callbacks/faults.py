"""The end of a run that diverged, before anything of it is kept."""

import math
import time

import keras

from foundation import backend
from foundation.errors import RunFailure


class Faults(keras.callbacks.Callback):
    """Ends a run with a RunFailure once gradients or losses are no longer finite.

    The optimizer remembers on the device the first step at which gradients failed, and whose they were (see
    `lab.optimizers.optimizer`); here it is asked, at most every `interval` seconds and before anything is written.
    `rate_of` gives the learning rate of a step of the run.
    """

    interval = 2.0

    def __init__(self, batches, rate_of):
        super().__init__()
        self.batches = batches
        self.rate_of = rate_of
        self.asked = time.monotonic()

    def on_train_batch_begin(self, batch, logs=None):
        # On jax the optimizer's variables are inside the step until somebody asks for all of them: too dear here.
        if backend.name() != "jax" and time.monotonic() - self.asked > self.interval:
            self.check()

    def on_epoch_end(self, epoch, logs):
        self.check()
        for name in ("loss", "val_loss"):
            if not math.isfinite(float(logs[name])):
                raise RunFailure(f"{name} is {float(logs[name])} after epoch {epoch + 1}; {_ADVICE}")

    def check(self):
        """Raise the RunFailure where the optimizer has seen gradients that are not finite."""
        self.asked = time.monotonic()
        optimizer = self.model.optimizer
        step = int(optimizer.fault_step)
        if step < 0:
            return
        faulty = keras.ops.convert_to_numpy(optimizer.faulty)
        # Gradients come from the loss backwards, so the last of these weights had its own first.
        first = self.model.trainable_variables[int(faulty.nonzero()[0][-1])].path
        steps = self.batches.steps_per_epoch
        raise RunFailure(
            f"training diverged in epoch {step // steps + 1}, step {step % steps + 1} of {steps}, learning rate "
            f"{self.rate_of(step):.3g}: gradients are no longer finite, first those of {first}; {_ADVICE}"
        )


class ExplosionNote(keras.callbacks.Callback):
    """Says in one line when val loss is far above that of guessing, ln C: at the first such epoch of a run.

    In the first epoch, when many networks are still worse than guessing, "far" is five times as much. `monitor` keeps the
    history, this epoch's values not yet among it.
    """

    def __init__(self, classes, monitor):
        super().__init__()
        self.guessing = math.log(classes)
        self.monitor = monitor

    def on_epoch_end(self, epoch, logs):
        losses = [*self.monitor.history.get("val_loss", ()), float(logs["val_loss"])]
        limits = [10 * self.guessing, *[2 * self.guessing] * (len(losses) - 1)]
        exploded = [loss > limit for loss, limit in zip(losses, limits, strict=True)]
        if exploded[-1] and not any(exploded[:-1]):
            print(
                f"note: val loss is {losses[-1]:,.4g} after epoch {epoch + 1}, that of guessing is {self.guessing:.2f}: "
                f"the learning rate may be too large; {_FINDER}",
                flush=True,
            )


_FINDER = "--find-lr suggests one"
_ADVICE = f"earlier checkpoints are kept; try a smaller init_lr ({_FINDER}) or more warmup_epochs in a new --run"
