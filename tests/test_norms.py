"""Norms against PyTorch's own, against each other at their limits, and on every backend."""

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher import build_model
from foundation.norm_table import NORM_TABLE
from foundation.settings import Config
from lab.optimizers.optimizer import make_optimizer
from lab.training.classifier import Classifier
from lab.training.torch_step import TorchStep
from models import norm_base, norms
from models.initialize import initialize
from models.norms import NORMS

pytestmark = pytest.mark.numeric

FROM_SCRATCH = [name for name in NORMS if name not in ("batch", "none")]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def built(name, shape, **options):
    """A norm with weights that are not their initial ones."""
    layer = NORMS[name](**options)
    layer.build((None, *shape[1:]))
    for i, weight in enumerate(layer.trainable_weights):
        weight.assign(torch.rand(weight.shape, generator=torch.Generator().manual_seed(i)) * 0.9 + 0.05)
    return layer


def outcome(function, x, *weights):
    """Output, and gradients of a fixed upstream with respect to x and to the weights."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (x, *weights)]
    y = function(*leaves)
    y.backward(normal(*y.shape, seed=9).to(y.dtype))
    return [y.detach(), *(leaf.grad for leaf in leaves)]


def of_layer(layer, x, training=True):
    x = x.detach().clone().requires_grad_()
    y = layer(x, training=training)
    y.backward(normal(*y.shape, seed=9).to(y.dtype))
    return [y.detach(), x.grad, *(weight.value.grad for weight in layer.trainable_weights)]


def first(x):
    return x.permute(0, 3, 1, 2)


def last(x):
    return x.permute(0, 2, 3, 1)


def instance_norm(x, gamma, beta):
    if len(x) > 1:
        return F.instance_norm(x, weight=gamma, bias=beta, eps=1e-5)
    # With gradients in channels-last memory, PyTorch 2.13's own is wrong for a single image.
    return F.group_norm(x, x.shape[1], gamma, beta, 1e-5)


PYTORCH = {
    "batch-scratch": lambda x, g, b: last(F.batch_norm(first(x), None, None, g, b, True, 0.1, 1e-5)),
    "instance": lambda x, g, b: last(instance_norm(first(x), g, b)),
    "layer": lambda x, g, b: last(F.layer_norm(first(x), first(x).shape[1:], eps=1e-5)) * g + b,
    "group": lambda x, g, b: last(F.group_norm(first(x), 4, g, b, 1e-5)),
}


@settings(max_examples=25)
@given(
    name=st.sampled_from(sorted(PYTORCH)),
    images=st.integers(1, 5),
    height=st.integers(1, 6),
    width=st.integers(3, 6),  # of two values the gradient is zero in theory, and rounding would be compared with rounding
    channels=st.sampled_from([4, 8, 12]),
    offset=st.sampled_from([0.0, 3.0, -50.0]),
)
def test_norms_equal_pytorchs_with_all_gradients(name, images, height, width, channels, offset):
    x = (normal(images, height, width, channels) * 16).round() / 8 + offset  # no two values that are almost the same
    layer = built(name, x.shape, **({"groups": 4} if name == "group" else {}))
    expected = outcome(PYTORCH[name], x, layer.gamma.value, layer.beta.value)
    # PyTorch adds up in float32 too: where the offset is 25 deviations, both are off by rounding.
    tolerance = 1e-5 if abs(offset) < 10 else 1e-3
    for found, wanted in zip(of_layer(layer, x), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=tolerance * max(1.0, float(wanted.abs().max())), rtol=tolerance)


@pytest.mark.parametrize("name", ["batch-scratch", "batch-instance"])
def test_moving_statistics_follow_as_those_of_batch_do(name):
    x = normal(4, 5, 6, 8) * 3 + 1
    fused, scratch = built("batch", x.shape, momentum=0.8), built(name, x.shape, momentum=0.8)
    for layer in (fused, scratch):
        layer(x, training=True)
        layer(x + 1, training=True)
    torch.testing.assert_close(scratch.moving_mean.value, fused.moving_mean.value, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scratch.moving_variance.value, fused.moving_variance.value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_batch_from_scratch_equals_the_fused_one(training):
    x = normal(4, 5, 6, 8) * 3 + 1
    results = []
    for name in ("batch", "batch-scratch"):
        layer = built(name, x.shape)
        layer.moving_mean.assign(normal(8, seed=3))
        layer.moving_variance.assign(normal(8, seed=4) ** 2 + 0.5)
        results.append(of_layer(layer, x, training))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(("gate", "limit"), [(1.0, "batch"), (0.0, "instance")])
@pytest.mark.parametrize("training", [True, False])
def test_batch_instance_at_its_limits_is_batch_or_instance(gate, limit, training):
    x = normal(4, 5, 6, 8) * 3 + 1
    mixed, pure = built("batch-instance", x.shape), built(limit, x.shape)
    mixed.gate.assign(np.full(8, gate))
    for found, wanted in zip(of_layer(mixed, x, training), of_layer(pure, x, training), strict=False):
        torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-5)


def test_the_gate_learns_ten_times_as_fast():
    x = normal(3, 4, 4, 8)
    layer = built("batch-instance", x.shape)
    found = dict(zip(("y", "x", "gamma", "beta", "gate"), of_layer(layer, x), strict=True))["gate"]

    def value(gate):
        layer.gate.assign(gate)
        y = layer(x, training=True)
        return float((y.detach() * normal(*y.shape, seed=9)).sum())

    gate, step = layer.gate.numpy(), np.eye(8, dtype="float32")[2] * 0.01
    slope = (value(gate + step) - value(gate - step)) / 0.02
    assert float(found[2]) == pytest.approx(10 * slope, rel=1e-2)


def test_the_gate_stays_in_its_interval_while_it_is_trained():
    model = Classifier.of(build_model("resnet20", (8, 8, 3), 4, norm="batch-instance"), "eager")
    model.compile(make_optimizer(Config(), 50.0))
    step = TorchStep(model, "eager")
    for seed in range(2):
        step(normal(8, 8, 8, 3, seed=seed), torch.eye(4)[torch.arange(8) % 4])
    gates = np.concatenate([weight.numpy() for weight in model.trainable_weights if weight.name == "gate"])
    assert gates.min() == 0.0 and gates.max() == 1.0


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_gradients_are_those_of_finite_differences(name, monkeypatch):
    """On the plain Keras path, whose gradient no hand derived, against the one that torch takes."""
    x = normal(3, 4, 5, 8)
    by_hand = of_layer(built(name, x.shape), x)
    monkeypatch.setattr(norms, "FUSED", False)
    monkeypatch.setattr(norm_base, "FUSED", False)
    by_autograd = of_layer(built(name, x.shape), x)
    for a, b in zip(by_hand, by_autograd, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


def test_every_norm_of_the_table_has_a_layer_with_its_weights():
    assert NORMS.keys() == NORM_TABLE.keys()
    for name, row in NORM_TABLE.items():
        layer = built(name, (1, 4, 4, 8))
        assert sum(int(np.prod(weight.shape)) for weight in layer.weights) == 8 * (row.weights + row.activation_weights)
        assert layer.is_activated == row.has_activation


@pytest.mark.parametrize("is_activated", [True, False])
def test_evonorm_s0_follows_its_equation_with_all_gradients(is_activated):
    """Liu et al. 2020: x sigmoid(v x) / sqrt(variance of the group) gamma + beta; the last of two groups is far from zero."""
    x = normal(3, 4, 5, 8)
    x[..., 4:] += 3
    layer = built("evonorm-s0", x.shape, groups=2, is_activated=is_activated)

    def formula(x, gamma, beta, *v):
        variance = x.reshape(3, 20, 2, 4).var((1, 3), unbiased=False).repeat_interleave(4, 1)[:, None, None]
        return gamma * (x * torch.sigmoid(v[0] * x) if is_activated else x) / torch.sqrt(variance + 1e-5) + beta

    wanted = outcome(formula, x, *(weight.value for weight in layer.trainable_weights))
    assert len(wanted) == 4 + is_activated
    for a, b in zip(of_layer(layer, x), wanted, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NORMS)
def test_statistics_are_float32_under_mixed_precision(name):
    """In bfloat16, whose integers end at 256, an offset of 200 leaves a spread of one to float32 statistics only."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = NORMS[name]()
    finally:
        keras.config.set_dtype_policy("float32")
    x = (normal(8, 6, 6, 16).round() + 200).bfloat16()
    y = layer(x, training=True)
    assert y.dtype == torch.bfloat16
    if name != "none" and not NORM_TABLE[name].has_activation:
        assert abs(y.float().mean().item()) < 0.02 and abs(y.float().std().item() - 1) < 0.05


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_one_image_is_enough_while_it_has_pixels(name):
    layer = built(name, (1, 4, 4, 8))
    assert torch.isfinite(layer(normal(1, 4, 4, 8), training=True)).all()


def test_images_of_one_pixel_have_no_instance_statistics():
    with pytest.raises(ValueError, match="more than one pixel, received images of 1x1"):
        NORMS["instance"]().build((None, 1, 1, 8))


def test_groups_must_divide_channels():
    with pytest.raises(ValueError, match="groups=8 must divide channels=12"):
        NORMS["group"]().build((None, 4, 4, 12))


@pytest.mark.parametrize("name", ["instance", "layer", "group", "evonorm-s0"])
def test_norms_without_a_batch_treat_images_alone(name):
    x = normal(4, 5, 6, 8)
    layer = built(name, x.shape)
    torch.testing.assert_close(layer(x, training=True)[:1], layer(x[:1], training=False), atol=1e-6, rtol=1e-5)


def losses_of(norm, epsilon=1e-5):
    """Of a hundred steps of a network with SiLU: a kink such as ReLU's would let rounding grow."""
    random = np.random.default_rng(0)
    images, labels = random.standard_normal((10, 8, 8, 8, 3), "float32"), random.integers(0, 4, (10, 8))
    model = build_model("resnet6n2", (8, 8, 3), 4, norm=norm, blocks=1, activation="silu", epsilon=epsilon)
    initialize(model, 0)
    model = Classifier.of(model, "eager")
    model.compile(make_optimizer(Config(weight_decay=2e-4, ema_decay=0.0), 1e-3))
    step, losses = TorchStep(model, "eager"), []
    for i in range(100):
        model.reset_metrics()
        losses.append(float(step(torch.from_numpy(images[i % 10]), torch.eye(4)[labels[i % 10]])["loss"]))
    return losses


def test_a_network_with_batch_from_scratch_has_the_loss_curve_of_batch():
    """To a hundred roundings of float32; a slightly different epsilon is told."""
    wanted, found, other = losses_of("batch"), losses_of("batch-scratch"), losses_of("batch-scratch", epsilon=1e-3)
    assert wanted[-1] < wanted[9] - 0.1
    allowed = 100 * np.finfo("float32").eps
    np.testing.assert_allclose(found, wanted, rtol=allowed)
    assert np.abs(np.divide(other, wanted) - 1).max() > 10 * allowed
