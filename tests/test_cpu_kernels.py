"""Our own kernels for a CPU, written in C, against PyTorch's operations in float64."""

import os
import subprocess

import pytest
import torch
import torch.nn.functional as F
from cpu_kernels import COMPILES, compiled, drawn, let_kernels_serve
from hypothesis import given
from hypothesis import strategies as st

from models import torch_cpu, torch_ops

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def convolutions(kernels):
    if "convolution" not in torch_cpu.vectors_here().kernels:
        pytest.skip("convolutions are PyTorch's")


def assert_equal(found, wanted, within=1e-6):
    for i, (one, other) in enumerate(zip(found, wanted, strict=True)):
        assert one.shape == other.shape and one.dtype == torch.float32, i
        assert (one - other).norm() <= within * other.norm() + 1e-12, i


def convolved(dtype, shape, filters, size, stride, padding):
    """Return the result of our layer's operation and its two gradients; in float64 they are PyTorch's."""
    x, kernel = (value.to(dtype).requires_grad_() for value in (drawn(*shape), drawn(size, size, shape[-1], filters)))
    y = torch_ops.conv2d(x, kernel, None, stride, 1, padding)
    return y.detach(), *torch.autograd.grad(y, (x, kernel), drawn(*y.shape, seed=1).to(dtype))


CONVOLUTIONS = {
    "first": ((5, 8, 8, 3), 16, 3, 1, "same"),
    "many images, each thread several parts": ((40, 32, 32, 16), 16, 3, 1, "same"),
    "images in a slab together": ((37, 4, 4, 64), 64, 3, 1, "same"),
    "images of several slabs": ((2, 65, 33, 16), 32, 3, 1, "same"),
    "odd sides and a stride": ((5, 7, 9, 16), 32, 3, 2, "same"),
    "even sides and a stride": ((5, 8, 6, 16), 32, 3, 2, "same"),
    "symmetric": ((9, 8, 8, 16), 16, 3, 2, "symmetric"),
    "a large kernel": ((3, 9, 9, 3), 32, 7, 2, "symmetric"),
    "a kernel wider than the image": ((2, 1, 2, 16), 16, 5, 1, "same"),
    "one by one": ((6, 8, 8, 64), 16, 1, 1, "same"),
    "one by one and a stride": ((6, 9, 9, 16), 64, 1, 2, "same"),
    "channels that no tile divides": ((3, 6, 11, 7), 16, 3, 1, "same"),
    "many channels, oneDNN's but for the kernel's gradient": ((3, 4, 4, 96), 128, 3, 1, "same"),
}


@compiled
@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("threads", [1, 3])
def test_convolutions_and_their_gradients_are_pytorchs(case, threads, convolutions, monkeypatch):
    monkeypatch.setattr(torch_cpu, "ELEMENTS", 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert_equal(convolved(torch.float32, *CONVOLUTIONS[case]), convolved(torch.float64, *CONVOLUTIONS[case]))


@compiled
@given(
    images=st.integers(1, 5),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    channels=st.integers(1, 20) | st.just(48),
    filters=st.sampled_from([16, 32]),
    size=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    padding=st.sampled_from(["same", "symmetric"]),
)
def test_convolutions_of_all_sizes_are_pytorchs(convolutions, images, height, width, channels, filters, size, stride, padding):
    case = (images, height, width, channels), filters, size, stride, padding
    assert_equal(convolved(torch.float32, *case), convolved(torch.float64, *case), within=3e-6)


@compiled
def test_the_gradient_of_a_kernel_lies_in_memory_as_networks_keep_kernels(convolutions):
    _, _, of_kernel = convolved(torch.float32, *CONVOLUTIONS["first"])
    assert of_kernel.permute(3, 0, 1, 2).is_contiguous()


def normalized(dtype, shape, is_added, is_activated, batch_norm, of_images=None):
    """Return the result of a batch norm, its moving statistics and its gradients; images have a type of their own."""
    images = [image.to(of_images or dtype) for image in (drawn(*shape, wide=True), drawn(*shape, seed=1), drawn(*shape, seed=4))]
    x, residual, slope = (image.to(dtype) if dtype == torch.float64 else image for image in images)
    gamma, beta = drawn(shape[-1], seed=2).to(dtype), drawn(shape[-1], seed=3).to(dtype)
    leaves = [leaf.requires_grad_() for leaf in (x, gamma, beta, residual)[: 4 if is_added else 3]]
    moving = [torch.full((shape[-1],), value, dtype=dtype) for value in (0.5, 2.0)]
    y = batch_norm(*leaves[:3], *moving, 0.9, 1e-5, leaves[3] if is_added else None, is_activated)
    return y.detach(), *moving, *torch.autograd.grad(y, leaves, slope)


def by_equation(x, gamma, beta, moving_mean, moving_variance, momentum, epsilon, residual, is_activated):
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2), unbiased=False)
    for moving, own in ((moving_mean, mean), (moving_variance, variance)):
        moving.lerp_(own.detach(), 1.0 - momentum)
    y = gamma * (x - mean) / (variance + epsilon).sqrt() + beta
    y = y if residual is None else y + residual
    return F.relu(y) if is_activated else y


@compiled
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("is_added", [False, True])
@pytest.mark.parametrize("is_activated", [False, True])
@pytest.mark.parametrize(
    "pixels, lanes", [((3, 5, 5), 2), ((2, 9, 9), 1), ((1, 3, 3), 3), ((2, 4, 4), 5), ((7, 6, 3), 20), ((1, 1, 7), 2)]
)
def test_batch_norm_follows_its_equation(pixels, lanes, is_activated, is_added, threads, kernels, monkeypatch):
    shape = *pixels, lanes * torch_cpu.vectors_here().lanes
    monkeypatch.setattr(torch_cpu, "ELEMENTS", 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found = normalized(torch.float32, shape, is_added, is_activated, torch_cpu.BatchNorm.apply)
    assert_equal(found, normalized(torch.float64, shape, is_added, is_activated, by_equation), within=2e-5)


@compiled
@pytest.mark.parametrize("is_added", [False, True])
@pytest.mark.parametrize("is_activated", [False, True])
def test_batch_norm_of_bfloat16_rounds_once(is_activated, is_added, kernels):
    """Moments, sums and what is learned are float32; images and their gradients are off by a half of the last place."""
    case = (3, 5, 5, 48), is_added, is_activated
    found = normalized(torch.float32, *case, torch_cpu.BatchNorm.apply, torch.bfloat16)
    wanted = normalized(torch.float64, *case, by_equation, torch.bfloat16)
    for i, (one, other) in enumerate(zip(found, wanted, strict=True)):
        is_image = one.ndim == 4
        assert one.dtype == (torch.bfloat16 if is_image else torch.float32), i
        torch.testing.assert_close(one.double(), other, rtol=2**-8 if is_image else 2e-5, atol=1e-4)


@compiled
def test_moments_of_values_far_from_zero_are_exact(kernels):
    """A sum of squares would lose their variance."""
    x = 1e4 + drawn(4, 16, 16, 16)
    mean, variance = torch.zeros(16), torch.zeros(16)
    torch_cpu.BatchNorm.apply(x.float(), torch.ones(16), torch.zeros(16), mean, variance, 0.0, 1e-5, None, False)
    exact = x.float().double()
    assert_equal([mean, variance], [exact.mean((0, 1, 2)), exact.var((0, 1, 2), unbiased=False)], within=1e-4)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_value_that_is_no_number_passes_the_relu(dtype, kernels):
    x = drawn(2, 4, 4, 16).to(dtype)
    x[0, 0, 0, 3] = float("nan")
    y = torch_cpu.BatchNorm.apply(x, torch.ones(16), torch.zeros(16), torch.zeros(16), torch.ones(16), 0.9, 1e-5, None, True)
    assert y[..., 3].isnan().all() and not y[..., 4].isnan().any()


@compiled
def test_results_repeat_to_the_bit(kernels, monkeypatch):
    monkeypatch.setattr(torch_cpu, "ELEMENTS", 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    case = CONVOLUTIONS["many images, each thread several parts"]
    for once, again in zip(convolved(torch.float32, *case), convolved(torch.float32, *case), strict=True):
        assert torch.equal(once, again)


@compiled
def test_a_second_derivative_is_refused_not_wrong(convolutions):
    x, kernel = drawn(2, 4, 4, 16).float().requires_grad_(), drawn(3, 3, 16, 16).float().requires_grad_()
    (slope,) = torch.autograd.grad(torch_ops.conv2d(x, kernel, None, 1, 1).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize(
    "capability, dtype, channels, ours",
    [
        ("AVX2", torch.float32, 16, {"norm", "convolution"}),
        ("AVX2", torch.float32, 12, set()),
        ("AVX2", torch.bfloat16, 16, {"norm"}),
        ("AVX512", torch.float32, 16, {"norm"}),
        ("AVX512", torch.float16, 16, set()),
        ("AVX512", torch.bfloat16, 16, {"norm"}),
        ("DEFAULT", torch.float32, 16, set()),
    ],
)
def test_kernels_serve_where_they_are_faster(capability, dtype, channels, ours, monkeypatch):
    let_kernels_serve(monkeypatch, capability)
    x, kernel = torch.ones(2, 4, 4, channels, dtype=dtype), torch.ones(3, 3, channels, channels)
    serving = {"norm": torch_ops.has_kernels(x), "convolution": torch_cpu.has_convolution(x, kernel)}
    assert {name for name, serves in serving.items() if serves} == (ours if COMPILES else set())


def test_without_a_compiler_pytorch_serves(monkeypatch, capsys):
    let_kernels_serve(monkeypatch)
    monkeypatch.setenv("CC", "no-such-compiler")
    assert torch_cpu.library() is None and capsys.readouterr().out == ""


def test_a_compiler_that_fails_is_told_of(monkeypatch, capsys, tmp_path):
    let_kernels_serve(monkeypatch)
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\nexit 3\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setattr(torch_cpu, "private_folder", lambda: tmp_path)
    assert torch_cpu.library() is None
    assert "our kernels can't be compiled here" in capsys.readouterr().out


@compiled
def test_the_library_is_compiled_once(monkeypatch, tmp_path):
    let_kernels_serve(monkeypatch)
    monkeypatch.setattr(torch_cpu, "private_folder", lambda: tmp_path)
    assert torch_cpu.library() is not None
    (built,) = tmp_path.iterdir()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it is compiled again"))
    assert torch_cpu.library() is not None and list(tmp_path.iterdir()) == [built]
    assert os.path.getsize(built) > 0
