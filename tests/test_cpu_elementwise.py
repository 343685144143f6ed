"""Our own kernels for a CPU that work on each value alone: Mish, and batch norm at inference."""

import pytest
import torch
import torch.nn.functional as F
from cpu_kernels import compiled, drawn

import dispatcher
from models import torch_cpu, torch_ops

pytestmark = pytest.mark.numeric


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("is_added", [False, True])
@pytest.mark.parametrize("is_activated", [False, True])
@pytest.mark.parametrize("pixels, lanes", [((3, 5, 5), 2), ((2, 8, 8), 1), ((1, 1, 1), 5), ((7, 6, 3), 20)])
def test_batch_norm_at_inference_follows_its_equation(
    pixels, lanes, is_activated, is_added, threads, dtype, kernels, monkeypatch
):
    shape = *pixels, lanes * torch_cpu.vectors_here().lanes
    monkeypatch.setattr(torch_cpu, "ELEMENTS", 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x, residual = drawn(*shape, wide=True).to(dtype), drawn(*shape, seed=1).to(dtype)
    constants = [drawn(shape[-1], seed=seed).float() for seed in (2, 3, 4)] + [drawn(shape[-1], seed=5).float() ** 2]
    found = torch_cpu.batch_norm_at_inference(x, *constants, 1e-5, residual if is_added else None, is_activated)
    gamma, beta, mean, variance = (constant.double() for constant in constants)
    wanted = gamma * (x.double() - mean) / (variance + 1e-5).sqrt() + beta + is_added * residual.double()
    assert found.dtype == dtype
    within = {"rtol": 2**-8, "atol": 1e-4} if dtype == torch.bfloat16 else {"rtol": 2e-5, "atol": 2e-5}
    torch.testing.assert_close(found.double(), F.relu(wanted) if is_activated else wanted, **within)


@compiled
@pytest.mark.parametrize("model", ["resnet20", "preresnet20"])
def test_a_network_at_inference_is_the_same_with_kernels_and_without(model, kernels, monkeypatch):
    """With them where nobody asks for a gradient, which they can't give."""
    x = drawn(3, 16, 16, 3).float()
    network = dispatcher.build_model(model, (16, 16, 3), 10)
    for i, weight in enumerate(network.weights):
        weight.assign(weight.value + 0.1 * drawn(*weight.shape, seed=i).abs())
    calls = []
    kernel = torch_cpu.batch_norm_at_inference
    monkeypatch.setattr(torch_cpu, "batch_norm_at_inference", lambda *given: calls.append(given) or kernel(*given))
    wanted = network(x, training=False)
    assert not calls and wanted.requires_grad
    with torch.no_grad():
        found = network(x, training=False)
    assert len(calls) == sum(weight.path.endswith("gamma") for weight in network.weights)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@compiled
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_mish_and_its_gradient_are_pytorchs(dtype, threads, kernels, monkeypatch):
    """Also where its exponential is cut off: below -87 and above 20."""
    monkeypatch.setattr(torch_cpu, "ELEMENTS", 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x = torch.cat([torch.linspace(-100.0, 60.0, 4000), drawn(2000).float(), torch.tensor([0.0, -0.0])]).to(dtype)
    x = F.pad(x, (0, -len(x) % 16)).view(-1, 16).requires_grad_()
    slope = drawn(*x.shape, seed=1).to(dtype)
    y = torch_cpu.Mish.apply(x)
    (to_x,) = torch.autograd.grad(y, x, slope)
    exact = x.detach().double().requires_grad_()
    wanted = F.mish(exact)
    (wanted_to_x,) = torch.autograd.grad(wanted, exact, slope.double())
    assert y.dtype == to_x.dtype == dtype
    within = {"rtol": 2**-8, "atol": 1e-6} if dtype == torch.bfloat16 else {"rtol": 2e-6, "atol": 1e-6}
    torch.testing.assert_close(y.double(), wanted, **within)
    torch.testing.assert_close(to_x.double(), wanted_to_x, **within)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_mish_of_what_is_no_number_is_none(dtype, kernels):
    x = torch.zeros(2, 16, dtype=dtype)
    x[0, 3] = float("nan")
    x = x.requires_grad_()
    y = torch_ops.mish(x)
    (to_x,) = torch.autograd.grad(y.sum(), x)
    for found in (y, to_x):
        assert found.isnan().nonzero().tolist() == [[0, 3]]
