"""Moving statistics: in the first steps means over the batches so far, on every backend; beside an average of weights, as it."""

import json

import keras
import numpy as np
import pytest
from conftest import ROOT, run_python

from foundation.settings import Config
from lab.optimizers.optimizer import make_optimizer
from lab.training.classifier import Classifier
from lab.training.moving_statistics import scales
from models.network import Recorder
from models.norms import make_norm

NORMS = ("batch", "batch-scratch", "batch-instance")
STEPS, BATCH = 90, 2


def network(kind, **settings):
    """A norm on the images themselves, beside a frozen one, and a classifier."""
    record, frozen = Recorder(keras.Input((2, 3, 4))), make_norm(kind, 1, name="frozen")
    classifier = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, name="classifier")
    for i, layer in enumerate((make_norm(kind, 1, name="norm"), frozen, *classifier)):
        record(layer, i)
    model = record.network("small")
    frozen.moving_mean.assign(np.full(4, 3.0, "float32"))
    frozen.trainable = False
    model = Classifier.of(model)
    model.compile(make_optimizer(Config(**{"ema_decay": 0.0} | settings), 0.01))
    return model


def images_and_labels():
    random = np.random.default_rng(0)
    images = random.standard_normal((STEPS * BATCH, 2, 3, 4)) * [0.01, 1, 1, 10] + [0, 0, 50, 5]
    return images.astype("float32"), np.eye(2, dtype="float32")[random.integers(0, 2, STEPS * BATCH)]


def moving_statistics(kind, epochs, begun_with=None, **settings):
    """Moving mean and variance `(2, C)` after so many epochs of a third of the images each, and the frozen norm's mean."""
    model, (images, labels) = network(kind, **settings), images_and_labels()
    if begun_with:
        model.go_on_as_begun(5.0, *begun_with)
    for part in range(epochs):
        chosen = slice(part * len(images) // 3, (part + 1) * len(images) // 3)
        chosen = [keras.ops.convert_to_tensor(values[chosen]) for values in (images, labels)]
        model.fit(*chosen, batch_size=BATCH, shuffle=False, verbose=0)
    norm = model.get_layer("norm")
    found = [keras.ops.convert_to_numpy(v) for v in (norm.moving_mean, norm.moving_variance)]
    return found, keras.ops.convert_to_numpy(model.get_layer("frozen").moving_mean)


def expected_statistics(steps, share):
    images, _ = images_and_labels()
    mean, variance = np.zeros(4), np.ones(4)
    for t in range(steps):
        batch = images[t * BATCH : (t + 1) * BATCH].astype("float64")
        mean += share(t) * (batch.mean((0, 1, 2)) - mean)
        variance += share(t) * (batch.var((0, 1, 2)) - variance)
    return [mean, variance]


def early(t):
    return max(5 / (t + 5), 0.1)


@pytest.mark.parametrize("momentum", [0.9, 0.99, 0.5])
def test_the_scales_turn_a_norms_rule_into_the_share_of_the_first_steps(momentum):
    factors = scales(momentum).astype("float64")
    moving, wanted = 1.0, 1.0
    for t, (before, after) in enumerate(factors):
        batch = 3.0 + t % 7
        moving = after * (momentum * before * moving + (1 - momentum) * batch)
        wanted += max(5 / (t + 5), 1 - momentum) * (batch - wanted)
        assert moving == pytest.approx(wanted, rel=1e-5)
    assert factors[-1].tolist() == [1.0, 1.0] and (factors[:-1, 1] > 1).all()


@pytest.mark.parametrize("kind", NORMS)
def test_statistics_know_how_few_batches_they_have_seen(kind):
    for epochs in (1, 3):
        found, frozen = moving_statistics(kind, epochs)
        for value, wanted in zip(found, expected_statistics(epochs * STEPS // 3, early), strict=True):
            np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=1e-5)
        assert frozen.tolist() == [3.0] * 4


@pytest.mark.parametrize(
    ("decay", "accumulate", "least"), [(0.99, 1, 0.01), (0.99, 2, 1 - 0.99**0.5), (0.5, 1, 0.1)], ids=["1", "2", "fast"]
)
def test_beside_an_average_of_weights_statistics_follow_as_it_does(decay, accumulate, least):
    found, frozen = moving_statistics("batch", 3, ema_decay=decay, accumulate=accumulate)
    for value, wanted in zip(found, expected_statistics(STEPS, lambda t: max(5 / (t + 5), least)), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=1e-5)
    assert frozen.tolist() == [3.0] * 4


@pytest.mark.parametrize("is_averaged", [True, False])
def test_statistics_are_of_the_averaged_weights(is_averaged):
    """The mean of a linear map is linear in its weights, so that of their average is the average of its means."""
    keras.utils.set_random_seed(0)
    record = Recorder(keras.Input((1, 1, 4)))
    convolution, pool = keras.layers.Conv2D(3, 1, use_bias=False), keras.layers.GlobalAveragePooling2D()
    layers = convolution, make_norm("batch", 1, name="norm"), pool, keras.layers.Dense(2, name="classifier")
    for i, layer in enumerate(layers):
        record(layer, i)
    model = Classifier.of(record.network("linear"))
    model.compile(make_optimizer(Config(ema_decay=0.95), 0.01))
    model.go_on_as_begun(5.0, True, is_averaged)
    random = np.random.default_rng(0)
    images, labels = random.normal(1.0, 1.0, (16, 1, 1, 4)).astype("float32"), np.eye(2, dtype="float32")[np.arange(16) % 2]
    model.fit(images, labels, batch_size=16, epochs=150, verbose=0)
    kernel, average, mean = (
        keras.ops.convert_to_numpy(value)
        for value in (convolution.kernel, model.optimizer.averages[0], model.get_layer("norm").moving_mean)
    )
    of_weights, of_average = (images.mean((0, 1, 2)) @ value[0, 0] for value in (kernel, average))
    off = np.abs(mean - of_average).max() / np.abs(of_weights - of_average).max()
    assert off < 0.1 if is_averaged else off > 0.4


def test_a_run_that_was_begun_without_this_goes_on_without_it():
    found, _ = moving_statistics("batch", 1, (False, False), ema_decay=0.99)
    for value, wanted in zip(found, expected_statistics(STEPS // 3, lambda t: 0.1), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_other_backends_follow_the_same_rule(backend, tmp_path):
    script = "import sys; sys.path.insert(0, sys.argv[1]); import conftest, json, test_moving_statistics as test\n"
    script += "[mean, variance], frozen = test.moving_statistics('batch', 3)\n"
    script += "print(json.dumps([mean.tolist(), variance.tolist(), frozen.tolist()]))"
    (tmp_path / "probe.py").write_text(script)
    process = run_python(tmp_path / "probe.py", ROOT / "tests", backend=backend)
    assert process.returncode == 0, process.stderr
    mean, variance, frozen = json.loads(process.stdout.splitlines()[-1])
    wanted_mean, wanted_variance = expected_statistics(STEPS, early)
    np.testing.assert_allclose(mean, wanted_mean, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(variance, wanted_variance, rtol=2e-5, atol=1e-5)
    assert frozen == [3.0] * 4
