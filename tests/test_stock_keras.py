"""Our layers train like Keras' own: speed changes nothing else."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from benchmarks.stock_keras import build_stock
from config import Config
from dispatcher import architecture_of, build_model
from models.initialize import initialize
from training.classifier import Classifier
from training.optimizers import make_optimizer

TWINS = [
    "resnet20",
    "plain20",
    "preresnet20",
    "mini-bottleneck-pre",
    "xresnet20",
    "mxresnet20",
    "xresnet29",
    "xresnext29_16x2d",
]


def copy_weights(ours, stock):
    """Gives the stock network our weights, by name; none may be left over."""
    theirs = {variable.path: variable for variable in stock.variables}
    for variable in ours.variables:
        layer, _, role = variable.path.rpartition("/")
        theirs.pop(f"{layer.replace('/', '_')}/{role}").assign(variable)
    assert not theirs


def twins(name, size=8, classes=4):
    """The same network, same weights, in our layers and in stock ones."""
    shape = (size, size, 3)
    ours, stock = build_model(name, shape, classes), build_stock(architecture_of(name), shape, classes)
    initialize(ours, 0)
    copy_weights(ours, stock)
    return ours, stock


def train(model, steps, rate, momentum):
    """The loss before each step."""
    random = np.random.default_rng(0)
    images, labels = random.standard_normal((steps, 16, 8, 8, 3), "float32"), random.integers(0, 4, (steps, 16))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(rate, momentum=momentum), loss=loss)
    return [float(model.train_on_batch(x, y)) for x, y in zip(images, labels, strict=True)]


@pytest.mark.parametrize("name", TWINS)
def test_a_step_changes_every_weight_as_stock_keras_layers_do(name):
    """A plain step of rate 1 subtracts the gradient itself; the moving statistics have followed the batch."""
    ours, stock = twins(name)
    before = {variable.path: np.array(variable) for variable in ours.variables}
    losses = [train(model, 1, rate=1.0, momentum=0.0) for model in (ours, stock)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    theirs = {variable.path: np.array(variable) for variable in stock.variables}
    for variable in ours.variables:
        layer, _, role = variable.path.rpartition("/")
        change = np.array(variable) - before[variable.path]
        expected = theirs[f"{layer.replace('/', '_')}/{role}"] - before[variable.path]
        # Rounding of float32, which the depth and ReLU's corner make larger than one operation's.
        assert np.linalg.norm(change - expected) <= 2e-3 * np.linalg.norm(expected) + 1e-6, variable.path


@pytest.mark.parametrize("name", TWINS)
def test_the_first_losses_equal_those_of_stock_keras_layers(name):
    """To 1e-4 relative over five steps; later, in so small a network, ReLU's corners make rounding grow on both sides."""
    ours, stock = (train(model, 5, rate=1e-4, momentum=0.9) for model in twins(name))
    np.testing.assert_allclose(ours, stock, rtol=1e-4)


def test_fifty_losses_of_the_fast_step_equal_those_of_stock_keras():
    """To 1e-4 relative, in float32, on patches of photographs at a gentle rate; larger rates let rounding grow on both sides."""
    photographs = np.stack(load_sample_images().images)
    random = np.random.default_rng(0)
    corners = zip(random.integers(0, 2, 640), random.integers(0, 395, 640), random.integers(0, 608, 640), strict=True)
    images = np.stack([photographs[i, y : y + 32, x : x + 32] for i, y, x in corners]).astype("float32") / 64 - 2
    labels = np.eye(10, dtype="float32")[random.integers(0, 10, 640)]
    ours, stock = twins("resnet20", size=32, classes=10)
    ours = Classifier.of(ours)
    ours.compile(make_optimizer(Config(nesterov=True, weight_decay=0.0), 2e-5))
    stock.compile(keras.optimizers.SGD(2e-5, momentum=0.9, nesterov=True), keras.losses.CategoricalCrossentropy(from_logits=True))
    losses = [StepLosses(), StepLosses()]
    for model, log in zip((ours, stock), losses, strict=True):
        model.fit(images, labels, batch_size=64, epochs=5, shuffle=False, verbose=0, callbacks=[log])
    assert len(losses[0].values) == 50
    assert losses[0].values[40] < losses[0].values[0] - 0.01  # a hundred times what may differ, on the same batch
    np.testing.assert_allclose(losses[0].values, losses[1].values, rtol=1e-4)


class StepLosses(keras.callbacks.Callback):
    """The mean loss of the epoch so far, after every step."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(logs["loss"])
