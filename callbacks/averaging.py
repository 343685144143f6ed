"""The moving average of the weights, where a run keeps one."""

import keras
import numpy as np


class EvaluateAverage(keras.callbacks.Callback):
    """Puts the optimizer's moving average in place of the trained weights while val is measured, then restores these."""

    def __init__(self):
        super().__init__()
        self.trained = []

    def on_test_begin(self, logs=None):
        weights = self.model.trainable_variables
        self.trained = [copy_of(weight) for weight in weights]
        for weight, average in zip(weights, average_of(self.model), strict=True):
            weight.assign(copy_of(average))

    def on_test_end(self, logs=None):
        for weight, trained in zip(self.model.trainable_variables, self.trained, strict=True):
            weight.assign(trained)
        self.trained = []


def copy_of(variable):
    """Return the value in memory of its own: some backends share it with `numpy()`, and jax gives a step's memory away."""
    return np.array(keras.ops.convert_to_numpy(variable), order="C")


def fetch_weights(model):
    """Make a model's variables current within an epoch: on jax they live in the step until somebody asks for them."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def wait_for_device(model):
    """Return when all steps that were given to the device are done; on jax, a step's logs have waited for it."""
    if model is not None and not hasattr(model, "jax_state_sync"):
        copy_of(model.optimizer.iterations)


def average_of(model):
    """Return the optimizer's moving averages, in the order of `model.trainable_variables`; None where it keeps none."""
    return model.optimizer.averages
