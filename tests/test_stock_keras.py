"""Our layers train like Keras' own: speed changes nothing else."""

import keras
import numpy as np
import pytest

from benchmarks.stock_keras import build_stock
from dispatcher import architecture_of, build_model
from models.initialize import initialize


def copy_weights(ours, stock):
    """Gives the stock network our weights, by name; none may be left over."""
    theirs = {variable.path: variable for variable in stock.variables}
    for variable in ours.variables:
        layer, _, role = variable.path.rpartition("/")
        theirs.pop(f"{layer.replace('/', '_')}/{role}").assign(variable)
    assert not theirs


def twins(name):
    """The same network, same weights, in our layers and in stock ones."""
    ours, stock = build_model(name, (8, 8, 3), 4), build_stock(architecture_of(name), (8, 8, 3), 4)
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


@pytest.mark.parametrize("name", ["resnet20", "xresnet20", "mxresnet20", "xresnet29", "xresnext29_16x2d"])
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


@pytest.mark.parametrize("name", ["resnet20", "xresnet20", "mxresnet20", "xresnet29", "xresnext29_16x2d"])
def test_the_first_losses_equal_those_of_stock_keras_layers(name):
    """To 1e-4 relative over five steps; later, in so small a network, ReLU's corners make rounding grow on both sides."""
    ours, stock = (train(model, 5, rate=1e-4, momentum=0.9) for model in twins(name))
    np.testing.assert_allclose(ours, stock, rtol=1e-4)
