"""When checkpoints are written; how, the run knows."""

import signal

import keras


class Interrupted(Exception):
    """The run was asked to stop, and has stopped after a step with everything written; carries the exit code."""

    def __init__(self, exit_code):
        super().__init__(exit_code)
        self.exit_code = exit_code


class Checkpoint(keras.callbacks.Callback):
    """Writes a checkpoint after every epoch, and after the step in which SIGINT or SIGTERM came, which then ends the run.

    `save` is called with (finished epochs, finished steps of the next one). The write is atomic: see `training.checkpoints`.
    """

    def __init__(self, save, batches):
        super().__init__()
        self.save = save
        self.batches = batches
        self.signal = None

    def on_train_batch_begin(self, batch, logs=None):
        # Before a step, not after the last one: Keras may call what comes after a step in a thread, beside the next step.
        steps = self.batches.first_step + batch
        if self.signal is None or batch == 0:
            return
        if hasattr(self.model, "jax_state_sync"):  # on jax the weights live in the step until somebody asks for them
            self.model.jax_state_sync()
        self.save(self.batches.epoch, steps)
        raise Interrupted(128 + self.signal)

    def on_epoch_end(self, epoch, logs=None):
        self.save(epoch + 1, 0)
        if self.signal is not None and not self.model.stop_training:
            raise Interrupted(128 + self.signal)

    def __enter__(self):
        """Takes the signals while the block runs; a second one falls through to whoever had them before."""
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
