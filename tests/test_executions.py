"""A step run as a CUDA graph ends with the very bits of the same step run plainly, for every kind of network and setting.

The cases need a GPU (`make test-gpu`); that the comparison works at all is tested everywhere, on the smallest of them.
"""

import keras
import numpy as np
import pytest
import torch

from callbacks.schedules import TableSchedule, learning_rates
from dispatcher import build_model
from foundation.settings import Config
from lab.optimizers.optimizer import make_optimizer
from lab.training.backends import make_deterministic
from lab.training.classifier import Classifier
from lab.training.torch_step import TorchStep
from models.blocks import ResidualBlock
from models.initialize import initialize

needs_gpu = pytest.mark.gpu
SGD = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "ema_decay": 0.99}
HALF = {"precision": "mixed_bfloat16"}
# name: (model, settings, parts of the network, what else)
CASES = {
    "resnet20": ("resnet20", SGD, {}, {}),
    "resnet20 bfloat16": ("resnet20", SGD, {}, HALF),
    "the default": ("xresnet20", {}, {}, {}),
    "muon bfloat16": ("xresnet20", SGD | {"optimizer": "muon"}, {}, HALF),
    "adam": ("resnet20", {"optimizer": "adam"}, {}, {"rate": 1e-3}),
    "adamw": ("resnet20", {"optimizer": "adamw", "weight_decay": 0.1}, {}, {"rate": 1e-3}),
    "rmsprop": ("resnet20", {"optimizer": "rmsprop"}, {}, {"rate": 1e-4}),
    "lion, clipped": ("resnet20", {"optimizer": "lion", "gradient_clip": 1.0}, {}, {"rate": 1e-4}),
    "accumulating": ("resnet20", SGD | {"accumulate": 2}, {}, {}),
    "stochastic depth": ("resnet20", SGD, {"stochastic_depth": 0.5}, {}),
    "macro F1": ("resnet20", SGD, {}, {"track_f1": True}),
    "class weights": ("resnet20", SGD, {}, {"weights": True}),
    "backbone rate": ("resnet20", SGD | {"backbone_rate": 0.1}, {}, {}),
    "se-mxresnet20": ("se-mxresnet20", SGD, {}, HALF),
    "preresnet20": ("preresnet20", SGD, {}, HALF),
    "cbam": ("resnet20", SGD, {"attention": "cbam"}, {}),
    "zero shortcut": ("resnet20", SGD, {"shortcut": "zero"}, {}),
    "se-mxresnext29_16x2d": ("se-mxresnext29_16x2d", SGD, {}, HALF),
    "wrn16-4": ("wrn16-4", SGD, {}, HALF),
    "resnet18-224": ("resnet18-224", SGD, {}, HALF),
    "resnet50d-224": ("resnet50d-224", SGD, {}, {}),
} | {
    f"norm {norm}": ("resnet20", SGD, {"norm": norm}, {"rate": 1e-3})
    for norm in ("batch-scratch", "instance", "batch-instance", "layer", "group", "evonorm-s0", "none")
}
SIZES = [64] * 6 + [40] * 5 + [64, 40, 64]  # two shapes, each with a graph of its own, in turns at the end


def trained(case, execution, sizes, pixels=16):
    """(values of all variables, losses) after a step on a batch of each size."""
    name, settings, parts, more = CASES[case]
    keras.config.set_dtype_policy(more.get("precision", "float32"))
    try:
        network = build_model(name, (pixels, pixels, 3), 10, **parts)
        initialize(network, 0)
        model = Classifier.of(network, execution)
        rates = TableSchedule(learning_rates("cosine", more.get("rate", 0.05), 1, 40, 0.1))
        model.compile(make_optimizer(Config(**settings), rates), more.get("track_f1", False))
    finally:
        keras.config.set_dtype_policy("float32")
    step, random = TorchStep(model, execution), np.random.default_rng(0)
    losses = []
    for size in sizes:
        images = keras.ops.convert_to_tensor(random.standard_normal((size, pixels, pixels, 3), "float32"))
        labels = keras.ops.convert_to_tensor(np.eye(10, dtype="float32")[random.integers(0, 10, size)])
        weights = [keras.ops.linspace(0.5, 1.5, size)] if more.get("weights") else []
        losses.append(float(step(images, labels, *weights)["loss"]))
    return [keras.ops.convert_to_numpy(v) for v in (*model.variables, *model.optimizer.variables)], losses


def differing(found, wanted):
    return sum(not np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("case", [pytest.param(case, marks=needs_gpu) for case in CASES])
def test_a_graph_leaves_the_bits_of_plain_execution(case):
    make_deterministic()
    (wanted, plain), (found, graph) = (trained(case, execution, SIZES) for execution in ("eager", "graph"))
    assert np.isfinite(plain).all() and plain == graph
    assert differing(found, wanted) == 0


def test_the_comparison_sees_equal_runs_as_equal_and_another_step_as_different():
    wanted, losses = trained("resnet20", "eager", [4, 2], pixels=8)
    found, again = trained("resnet20", "auto", [4, 2], pixels=8)
    assert losses == again and differing(found, wanted) == 0
    found, _ = trained("resnet20", "auto", [4, 3], pixels=8)
    assert differing(found, wanted) > 100


@pytest.mark.parametrize("parts", [{"stride": 2, "shortcut": "projection"}, {"shortcut": "none"}, {"drop_rate": 0.5}], ids=str)
def test_a_block_in_the_order_of_kernels_gives_the_same(parts, monkeypatch):
    """Here the kernels' operations stand in for them; what the kernels compute is tested on a GPU."""
    x = keras.random.normal((4, 8, 8, 8), seed=0)
    found = []
    for served in (False, True):
        monkeypatch.setattr("models.blocks.is_served", lambda *_, served=served: served)
        block = ResidualBlock(8, order="post", **parts)
        block.build(x.shape)
        for i, weight in enumerate(block.weights):
            weight.assign(keras.random.normal(weight.shape, seed=i) if "int" not in weight.dtype else 7)
        found.append(keras.ops.convert_to_numpy(block.call(x, training=True)))
    np.testing.assert_array_equal(*found)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("is_added", "is_activated"), [(False, False), (False, True), (True, True)])
@pytest.mark.parametrize(
    "shape", [(2, 4, 4, 16), (3, 5, 7, 16), (16, 32, 32, 64), (4, 6, 6, 160), (2, 3, 3, 24), (128, 32, 32, 16)]
)
def test_our_batch_norm_kernels_follow_the_equation(shape, is_added, is_activated, dtype):
    """Against float64, to a rounding of the type for each of the few operations that a value passes through."""
    from models.torch_batch_norm import BatchNorm

    random = torch.Generator("cuda").manual_seed(0)
    channels, options = shape[-1], {"generator": random, "device": "cuda"}
    x, residual, gradient = ((2 * torch.randn(shape, **options) + mean).to(dtype) for mean in (5, 0, 0))
    gamma, beta = torch.rand(channels, **options) + 0.5, torch.randn(channels, **options)
    moving_mean, moving_variance = torch.zeros(channels, device="cuda"), torch.ones(channels, device="cuda")
    used = (x, gamma, beta, residual) if is_added else (x, gamma, beta)
    own = [leaf.clone().requires_grad_() for leaf in used]
    y = BatchNorm.apply(*own[:3], moving_mean, moving_variance, 0.9, 1e-5, own[3] if is_added else None, is_activated)
    leaves = [leaf.double().requires_grad_() for leaf in used]
    mean, variance = leaves[0].mean((0, 1, 2)), leaves[0].var((0, 1, 2), unbiased=False)
    wanted = (leaves[0] - mean) / (variance + 1e-5).sqrt() * leaves[1] + leaves[2] + (leaves[3] if is_added else 0)
    if is_activated:
        wanted = torch.where(y > 0, wanted, 0.0)  # where rounding decides whether a value is above zero, both take its side
    found = [y, moving_mean, moving_variance, *torch.autograd.grad(y, own, gradient)]
    wanted = [wanted, 0.1 * mean, 0.9 + 0.1 * variance, *torch.autograd.grad(wanted, leaves, gradient.double())]
    for value, exact in zip(found, wanted, strict=True):
        rounding = 8 * torch.finfo(value.dtype).eps
        assert (value.double() - exact).abs().max() <= rounding * exact.abs().max()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    ("shape", "filters", "size", "stride"),
    [
        ((128, 32, 32, 16), 16, 3, 1),
        ((64, 32, 32, 3), 16, 3, 1),
        ((32, 16, 16, 16), 32, 3, 2),
        ((3, 9, 7, 24), 40, 3, 2),
        ((300, 8, 8, 64), 64, 3, 1),
        ((8, 6, 6, 32), 64, 1, 2),
    ],
)
def test_our_convolution_kernels_follow_the_equation(shape, filters, size, stride, dtype):
    """Against float64: one rounding of a result, and float32 sums, whose rounding is small beside it."""
    from models import torch_ops

    random = torch.Generator("cuda").manual_seed(0)
    options = {"generator": random, "device": "cuda"}
    x = torch.randn(shape, **options).to(dtype).requires_grad_()
    kernel = torch.randn((size, size, shape[-1], filters), **options).to(dtype).requires_grad_()
    assert torch_ops.has_convolution(x, kernel)
    y, passed = torch_ops.conv2d_beside(x, kernel, None, stride, 1)
    gradients = torch.randn(y.shape, **options).to(dtype), torch.randn(shape, **options).to(dtype)
    exact_x, exact_kernel = (leaf.detach().double().cpu().requires_grad_() for leaf in (x, kernel))
    exact = torch_ops.conv2d(exact_x, exact_kernel, None, stride, 1)
    found = [y, *torch.autograd.grad((y, passed), (x, kernel), gradients)]
    wanted = [exact, *torch.autograd.grad((exact, exact_x), (exact_x, exact_kernel), [g.double().cpu() for g in gradients])]
    for value, true in zip(found, wanted, strict=True):
        assert (value.double().cpu() - true).abs().max() <= torch.finfo(dtype).eps * true.abs().max()

    (means, squares), each = y.moments
    counts = (y.numel() // filters - each * torch.arange(means.shape[1], device="cuda")).clamp(max=each)
    rows = y.detach().double().reshape(-1, filters)
    mean = (means * counts).sum(1).double() / len(rows)
    torch.testing.assert_close(mean, rows.mean(0), rtol=1e-5, atol=1e-5)
    spread = (squares.double() + counts * (means.double() - rows.mean(0)[:, None]) ** 2).sum(1)
    torch.testing.assert_close(spread / len(rows), rows.var(0, unbiased=False), rtol=1e-5, atol=1e-5)
