"""Convolutions and their gradients on every backend against PyTorch's in float64."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import run_python

pytestmark = pytest.mark.numeric

# Images, height, width, channels; filters, size of the kernel, stride, groups, padding.
CASES = {
    "same": (5, 7, 9, 8, 12, 3, 1, 1, "same"),
    "same, odd sides and a stride": (5, 7, 9, 8, 12, 3, 2, 1, "same"),
    "same, even sides and a stride": (5, 8, 6, 8, 12, 3, 2, 1, "same"),
    "symmetric": (9, 8, 8, 3, 4, 7, 2, 1, "symmetric"),
    "one pixel": (1, 1, 1, 8, 8, 5, 1, 1, "same"),
    "a stride beyond the kernel": (2, 9, 9, 4, 4, 1, 3, 1, "same"),
    "more images than the cache holds": (37, 32, 32, 4, 4, 3, 1, 1, "same"),
    "groups, one dense convolution": (3, 6, 6, 8, 12, 3, 1, 4, "same"),
    "groups, several dense convolutions": (3, 6, 6, 64, 32, 3, 2, 16, "same"),
    "groups, as few together as divide them": (3, 6, 6, 24, 18, 3, 1, 6, "same"),
    "wide groups": (3, 6, 6, 64, 64, 3, 1, 2, "same"),
    "a group for each channel": (3, 6, 6, 24, 48, 3, 1, 24, "symmetric"),
}

PROBE = """
import json, sys
import numpy as np
from keras import ops
from foundation import backend
from models.layers import Conv2D

inputs, found = dict(np.load(sys.argv[1])), {}

def gradients(layer, x, kernel, upstream):
    if backend.name() == "jax":
        import jax
        def both(x, kernel):
            return jax.vjp(lambda x, kernel: layer.stateless_call([kernel], [], x)[0], x, kernel)
        def all_three(x, kernel):
            y, backwards = both(x, kernel)
            return y, *backwards(upstream)
        return jax.jit(all_three)(x, kernel)
    import tensorflow as tf
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    return y, *tape.gradient(y, (x, layer.kernel.value), upstream)

for name, (*_, filters, size, stride, groups, padding) in json.loads(sys.argv[3]).items():
    x, kernel, upstream = (ops.convert_to_tensor(inputs[f"{name} {what}"]) for what in ("x", "kernel", "upstream"))
    layer = Conv2D(filters, size, stride, groups, padding)
    layer.build(x.shape)
    layer.kernel.assign(kernel)
    for what, value in zip(("y", "of x", "of the kernel"), gradients(layer, x, kernel, upstream)):
        found[f"{name} {what}"] = ops.convert_to_numpy(value)
np.savez(sys.argv[2], **found)
"""


def drawn(images, height, width, channels, filters, size, stride, groups, padding):
    random = np.random.default_rng(0)
    shapes = {
        "x": (images, height, width, channels),
        "kernel": (size, size, channels // groups, filters),
        "upstream": (images, -(-height // stride), -(-width // stride), filters),
    }
    return {what: random.standard_normal(shape).astype("float32") for what, shape in shapes.items()}


def pads_of(length, size, stride, padding):
    """Lines before and after an image's `length`: `size // 2` of each, or Keras' "same", which has the odd one after."""
    if padding == "symmetric":
        return size // 2, size // 2
    total = max((-(-length // stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


def reference(case):
    """The result, and the gradients of images and kernel, in float64."""
    _, height, width, *_, size, stride, groups, padding = case
    x, kernel, upstream = (torch.tensor(value, dtype=torch.float64) for value in drawn(*case).values())
    x, kernel = x.requires_grad_(), kernel.requires_grad_()
    around = (*pads_of(width, size, stride, padding), *pads_of(height, size, stride, padding))
    y = F.conv2d(F.pad(x.permute(0, 3, 1, 2), around), kernel.permute(3, 2, 0, 1), stride=stride, groups=groups)
    y = y.permute(0, 2, 3, 1)
    y.backward(upstream)
    return {"y": y.detach(), "of x": x.grad, "of the kernel": kernel.grad}


@pytest.fixture(scope="module", params=["jax", "tensorflow"])
def computed(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    np.savez(folder / "inputs.npz", **{f"{name} {what}": v for name, case in CASES.items() for what, v in drawn(*case).items()})
    process = run_python("-c", PROBE, folder / "inputs.npz", folder / "found.npz", json.dumps(CASES), backend=request.param)
    assert process.returncode == 0, process.stderr
    return dict(np.load(folder / "found.npz"))


@pytest.mark.parametrize("name", CASES)
def test_convolutions_and_their_gradients_are_pytorchs(computed, name):
    for what, wanted in reference(CASES[name]).items():
        found = computed[f"{name} {what}"]
        assert found.shape == tuple(wanted.shape) and found.dtype == "float32"
        assert np.linalg.norm(found - wanted.numpy()) <= 1e-5 * wanted.norm(), what
