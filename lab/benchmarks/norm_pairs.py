"""The contestants of `lab.benchmarks.norms`: a norm of ours and PyTorch's operation, in turns, in one process."""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from foundation.devices import synchronize, uses_cuda
from foundation.stopwatch import seconds_of
from lab.benchmarks.norms import SHAPES
from lab.training.memory import keep_freed_memory
from models.norms import make_norm

GROUPS = 8


def _batch(x, gamma, beta):
    moving = torch.zeros_like(gamma), torch.ones_like(gamma)
    return F.batch_norm(x, *moving, gamma, beta, training=True)


def _instance(x, gamma, beta):
    return F.instance_norm(x, weight=gamma, bias=beta)


def _layer(x, gamma, beta):
    """Apply PyTorch's layer norm, which has a scale and a shift for every position: gamma and beta are expanded to that shape."""
    places = x.shape[1:]
    return F.layer_norm(x, places, gamma[:, None, None].expand(places), beta[:, None, None].expand(places))


def _group(x, gamma, beta):
    return F.group_norm(x, GROUPS, gamma, beta)


def _batch_instance(x, gamma, beta, gate):
    """Return the weighted sum of PyTorch's batch norm and instance norm: PyTorch has no operation of its own for this norm."""
    none = torch.zeros_like(beta)
    return _batch(x, gamma * gate, beta) + _instance(x, gamma * (1 - gate), none)


PEERS = {
    "batch": _batch,
    "batch-scratch": _batch,
    "instance": _instance,
    "layer": _layer,
    "group": _group,
    "batch-instance": _batch_instance,
}


def make_contestant(name):
    """Return `run(repetitions)`, which measures the norm against PyTorch's operation and returns a ratio for each of SHAPES."""
    keep_freed_memory()
    return partial(_ratios, name)


def _ratios(name, repetitions):
    return [ratio(measure_pairs(name, shape, repetitions)) for shape in SHAPES]


def measure_pairs(name, shape, repetitions, calls=5):
    """Return (our seconds, PyTorch's seconds) for `calls` calls, a pair per repetition, in turns."""
    device = "cuda" if uses_cuda() else "cpu"
    norm = make_norm(name, GROUPS)
    norm.build(shape)
    x = torch.randn(shape, device=device, requires_grad=True)
    gradient = torch.randn(shape, device=device)
    own = [variable.value for variable in norm.trainable_variables]
    theirs = [value.detach().clone().requires_grad_() for value in own]

    def ours():
        torch.autograd.grad(norm.call(x, training=True), [x, *own], gradient)

    def peer():
        y = PEERS[name](x.permute(0, 3, 1, 2), *theirs).permute(0, 2, 3, 1)
        torch.autograd.grad(y, [x, *theirs], gradient)

    for warm_up in (ours, peer):
        seconds_of(warm_up, 3, synchronize)
    return [(seconds_of(ours, calls, synchronize), seconds_of(peer, calls, synchronize)) for _ in range(repetitions)]


def ratio(pairs) -> float:
    """Return our time / PyTorch's time: the median over repetitions."""
    ours, theirs = np.array(pairs).T
    return float(np.median(ours / theirs))
