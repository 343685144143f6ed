"""Gradient norms, weight norms and update ratios of a network while it trains."""

import keras
import numpy as np

from callbacks.averaging import copy_of, fetch_weights

MEASURES = ("gradient_norm", "weight_norm", "update_ratio")


class GradientFlow(keras.callbacks.Callback):
    """Measures `samples` evenly spaced steps of every epoch; after each epoch it rewrites `flow.json`, by one rename.

    It records three values for every kernel, including those of shortcuts and attention, from the images on: the L2 norm of the
    gradient, the L2 norm of the kernel, and the ratio of the norm of the step's change to the norm of the kernel. Each value is
    a mean over the measured steps. The file holds `layers` (the kernels' paths), `epoch`, and for each of MEASURES a list of
    values for every epoch. The optimizer keeps the gradient norms on the device (`lab.optimizers.optimizer`), so other steps
    cost nothing.
    """

    needs_state = ""  # a run without it only lacks the record of earlier epochs

    def __init__(self, run, batches, samples=8):
        super().__init__()
        self.run = run
        self.batches = batches
        steps = batches.steps_per_epoch
        self.looked_at = {steps * (2 * i + 1) // (2 * samples) for i in range(samples)}
        self.history = {"layers": [], "epoch": []} | {name: [] for name in MEASURES}
        self.seen = []  # this epoch's values: for each step, a list for each of MEASURES
        self.before = None

    def on_train_begin(self, logs=None):
        names = [(i, v.path) for i, v in enumerate(self.model.trainable_variables) if v.name == "kernel"]
        self.indices, self.history["layers"] = [i for i, _ in names], [path for _, path in names]

    def on_train_batch_begin(self, batch, logs=None):
        # Called before a step instead of after the last one: Keras may run the latter in a thread, during the next step.
        self._look_back()
        if self.batches.first_step + batch in self.looked_at:
            self.before = self._kernels()

    def _look_back(self):
        """Record the step that just ended, if it is one to measure."""
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
