"""Our layers train like Keras' own: speed changes nothing else."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from dispatcher import architecture_of, build_model
from foundation.settings import Config
from lab.benchmarks.stock_keras import build_stock
from lab.optimizers.optimizer import make_optimizer
from lab.studies.protocol import PROTOCOL
from lab.training.classifier import Classifier
from models.initialize import initialize

pytestmark = pytest.mark.numeric

TWINS = [
    "resnet20",
    "plain20",
    "preresnet20",
    "mini-bottleneck-pre",
    "xresnet20",
    "mxresnet20",
    "xresnet29",
    "xresnext29_16x2d",
    "se-mxresnet20",
]
FLOAT32 = np.finfo("float32").eps  # of the classifier, which is float32 in every network, and of logs


def copy_weights(ours, stock):
    """Gives the stock network our weights, by name; none may be left over."""
    theirs = {variable.path: variable for variable in stock.variables}
    for variable in ours.variables:
        layer, _, role = variable.path.rpartition("/")
        theirs.pop(f"{layer.replace('/', '_')}/{role}").assign(variable)
    assert not theirs


@pytest.fixture
def in_float64():
    """Questions about formulas, not about rounding: networks are built in float64, all but the float32 classifier."""
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def twins(name, classes=4, **options):
    """The same network, same weights, in our layers and in stock ones."""
    shape = (8, 8, 3)
    ours, stock = build_model(name, shape, classes, **options), build_stock(architecture_of(name, **options), shape, classes)
    initialize(ours, 0)
    copy_weights(ours, stock)
    return ours, stock


def losses_of(model):
    """Of three steps, which also move the weights and the moving statistics."""
    random = np.random.default_rng(0)
    images, labels = random.standard_normal((3, 16, 8, 8, 3), "float32"), random.integers(0, 4, (3, 16))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9), loss=loss)
    return [float(model.train_on_batch(x, y)) for x, y in zip(images, labels, strict=True)]


def assert_same_training(ours, stock):
    """Losses, and the change of every weight and moving statistic: float32's rounding, a hundred of them, is allowed.

    A weight before another norm has no gradient: what is left of it is rounding, and compared with all changes together.
    """
    before = {variable.path: np.array(variable) for variable in ours.variables}
    assert losses_of(ours) == pytest.approx(losses_of(stock), rel=100 * FLOAT32)
    theirs = {variable.path.replace("_", "/"): np.array(variable) for variable in stock.variables}
    changes = {variable.path: np.array(variable) - before[variable.path] for variable in ours.variables}
    expected = {path: theirs[path.replace("_", "/")] - before[path] for path in changes}
    whole = np.sqrt(sum(np.square(expected[variable.path]).sum() for variable in ours.trainable_variables))
    for path, change in changes.items():
        allowed = 100 * FLOAT32 * np.linalg.norm(expected[path]) + FLOAT32 * whole
        assert np.linalg.norm(change - expected[path]) <= allowed, path


@pytest.mark.parametrize("name", TWINS)
def test_steps_change_every_weight_as_stock_keras_layers_do(name, in_float64):
    assert_same_training(*twins(name, blocks=2))


@pytest.mark.parametrize("stem", ["imagenet", "deep"])
def test_large_stems_are_those_of_stock_keras_layers(stem, in_float64):
    """At 8 pixels they leave two."""
    assert_same_training(*twins("resnet20", blocks=1, filters=(16,), stem=stem, activation="mish"))


@pytest.mark.parametrize("change", [{"epsilon": 1e-3}, {"momentum": 0.99}], ids=str)
def test_steps_with_another_epsilon_or_momentum_do_not(change, in_float64):
    """The control: Keras' defaults instead of the architecture's, in one norm."""
    ours, stock = twins("resnet20", blocks=1)
    for name, value in change.items():
        setattr(ours.get_layer("stage3_block1").norms[0], name, value)
    with pytest.raises(AssertionError):
        assert_same_training(ours, stock)


# A momentum that is a little off is told, and a kink such as ReLU's would let rounding grow: hence SiLU.
@pytest.mark.parametrize(("momentum", "is_same"), [(0.9, True), (0.899, False)])
def test_fifty_losses_of_the_fast_step_equal_those_of_stock_keras(momentum, is_same):
    """In float32, on patches of photographs, while the loss falls."""
    photographs = np.stack(load_sample_images().images)
    random = np.random.default_rng(0)
    corners = zip(random.integers(0, 2, 160), random.integers(0, 395, 160), random.integers(0, 608, 160), strict=True)
    images = np.stack([photographs[i, y : y + 8, x : x + 8] for i, y, x in corners]).astype("float32") / 64 - 2
    labels = np.eye(10, dtype="float32")[random.integers(0, 10, 160)]
    ours, stock = twins("resnet20", classes=10, blocks=1, activation="silu")
    ours = Classifier.of(ours)
    ours.compile(make_optimizer(replace(Config(**PROTOCOL), nesterov=True, weight_decay=0.0, momentum=momentum), 1e-3))
    stock.compile(keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True), keras.losses.CategoricalCrossentropy(from_logits=True))
    losses = [StepLosses(), StepLosses()]
    for model, log in zip((ours, stock), losses, strict=True):
        model.fit(images, labels, batch_size=16, epochs=5, shuffle=False, verbose=0, callbacks=[log])
    found, wanted = (np.array(log.values) for log in losses)
    assert len(found) == 50 and found[40] < found[0] - 0.3
    assert (np.abs(found / wanted - 1).max() <= 100 * FLOAT32) == is_same


class StepLosses(keras.callbacks.Callback):
    """The mean loss of the epoch so far, after every step."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(logs["loss"])
