"""How gradients flow through a network while it trains."""

import keras
import numpy as np

from callbacks.averaging import copy_of, fetch_weights

MEASURES = ("gradient_norm", "weight_norm", "update_ratio")


class GradientFlow(keras.callbacks.Callback):
    """Looks at `samples` evenly spaced steps of every epoch; after it rewrites `flow.json`, by one rename.

    Of every kernel, also of shortcuts and attention, from the images on: the norm (L2) of its gradient, its own norm, and
    the ratio of the norm of the step's change to its own: means over the steps looked at. The file holds `layers`, the
    kernels' paths, `epoch`, and for each of MEASURES a list of values for every epoch. The optimizer leaves the norms of
    gradients on the device (`training.optimizers`), so that other steps cost nothing.
    """

    needs_state = ""  # without, only what is shown of the past is missing

    def __init__(self, run, batches, samples=8):
        super().__init__()
        self.run = run
        self.batches = batches
        steps = batches.steps_per_epoch
        self.looked_at = {steps * (2 * i + 1) // (2 * samples) for i in range(samples)}
        self.history = {"layers": [], "epoch": []} | {name: [] for name in MEASURES}
        self.seen = []  # of this epoch: a list of values for each of MEASURES, by step
        self.before = None

    def on_train_begin(self, logs=None):
        names = [(i, v.path) for i, v in enumerate(self.model.trainable_variables) if v.name == "kernel"]
        self.indices, self.history["layers"] = [i for i, _ in names], [path for _, path in names]

    def on_train_batch_begin(self, batch, logs=None):
        # Before a step, not after the last one: Keras may call what comes after a step in a thread, beside the next step.
        self._look_back()
        if self.batches.first_step + batch in self.looked_at:
            self.before = self._kernels()

    def _look_back(self):
        """Takes note of the step that ended, where it was one to look at."""
        if self.before is None:
            return
        after = self._kernels()
        norms = [float(np.linalg.norm(kernel)) for kernel in self.before]
        changes = [float(np.linalg.norm(new - old)) for new, old in zip(after, self.before, strict=True)]
        gradients = copy_of(self.model.optimizer.gradient_norms)[self.indices]
        ratios = [change / max(norm, 1e-12) for change, norm in zip(changes, norms, strict=True)]
        self.seen.append([gradients.tolist(), norms, ratios])
        self.before = None

    def _kernels(self):
        fetch_weights(self.model)
        weights = self.model.trainable_variables
        return [copy_of(weights[i]) for i in self.indices]

    def on_test_begin(self, logs=None):
        self._look_back()  # at the epoch's last step, before val is measured with other weights

    def on_epoch_end(self, epoch, logs=None):
        self._look_back()
        self.history["epoch"].append(epoch + 1)
        for name, values in zip(MEASURES, np.mean(self.seen, axis=0).tolist(), strict=True):
            self.history[name].append(values)
        self.seen = []
        self.run.write_json("flow.json", self.history)

    def get_state(self):
        return {"history": self.history, "seen": self.seen}

    def set_state(self, state):
        self.history, self.seen = state["history"], state["seen"]
