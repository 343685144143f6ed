"""Training step on torch: the work of a hand-written loop, under Keras' `fit`.

The step never waits for the device and copies nothing to it. The sums of loss and hits stay on the device, in the variables of
the model's metrics, and so do the step's number and the learning rates. So a GPU can be given the whole step as one CUDA graph.
"""

import contextlib
import gc
from typing import Any

import torch
import torch.nn.functional as F

from foundation import replicas
from foundation.errors import UserError
from lab.training.forward import Forward
from lab.training.memory import keep_freed_memory
from lab.training.torch_graph import Graphs
from models import torch_ops
from models.blocks import ResidualBlock

COMPILER = "inductor"  # the backend of torch.compile


def choose_execution(execution, device):
    """Return the execution for weights on a device (its type). "auto" means a graph on a GPU, else eager. Raises UserError."""
    has_graph = device == "cuda" and replicas.NUM_SHARDS == 1
    if execution == "graph" and not has_graph:
        raise UserError("execution 'graph' needs a GPU and one process, allowed here: auto, eager, compile")
    if execution == "auto":
        return "graph" if has_graph else "eager"
    return execution


class TorchStep:
    """Training step of a compiled `lab.training.classifier.Classifier`.

    It is called with images `(N, H, W, C)` and labels `(N, classes)`, and with weights `(N,)` if images do not count alike. It
    returns the mean loss and accuracy of the epoch so far, as tensors on the device. `execution` is "eager", "graph", "compile"
    (compiled blocks, and a graph too if one is possible) or "auto".
    """

    casts_at_once = True  # whether convolutions are given their kernels in half precision, all cast at once

    def __init__(self, model, execution):
        self.model, self.optimizer = model, model.optimizer
        self.variables = model.trainable_variables
        lay_out_as_gradients([*self.variables, *self.optimizer.variables])
        self.weights = [variable.value for variable in self.variables]
        self.device = self.weights[0].device
        self.execution = choose_execution(execution, self.device.type)
        is_compiled = self.execution == "compile" and can_compile(self.device)
        self.calls = self._compiled_blocks() if is_compiled else {}
        self.casts = {} if is_compiled else self._room_for_casts()
        self.forward = Forward(model, training=True, calls=self.calls)
        has_graph = self.device.type == "cuda" and replicas.NUM_SHARDS == 1
        self.compute = Graphs(self._compute) if has_graph and self.execution != "eager" else self._compute
        if self.device.type == "cpu":
            keep_freed_memory()

    def _compiled_blocks(self):
        """Return {name of a block: its `call`, compiled}.

        Block by block: Keras' code around a layer would break a graph of the whole network into pieces.
        """
        torch._dynamo.config.recompile_limit = 256  # each block is another version of the same code
        blocks = [layer for layer in self.model.layers if isinstance(layer, ResidualBlock)]
        return {block.name: torch.compile(block.call, backend=COMPILER, dynamic=False) for block in blocks}

    def _room_for_casts(self):
        """Return {index of a kernel: tensor that it is cast to} for a network in half precision; empty for other networks."""
        if not self.casts_at_once or self.model.dtype_policy.compute_dtype == "float32":
            return {}
        dtype = getattr(torch, self.model.dtype_policy.compute_dtype)
        kernels = [i for i, weight in enumerate(self.weights) if weight.ndim == 4]
        return {i: torch.empty_like(self.weights[i], dtype=dtype).requires_grad_() for i in kernels}

    def __call__(self, *batch):
        return self.compute(*batch)

    def _compute(self, images, labels, weights=None):
        with self._cast_kernels():
            logits = self.forward(images)
        if weights is None:
            loss = F.cross_entropy(logits, labels)
        else:
            loss = (F.cross_entropy(logits, labels, reduction="none") * weights).mean()
        gradients = self._gradients(loss, len(labels))
        with torch.no_grad():
            self.optimizer.apply(gradients)
            self._count(loss, logits, labels)
            return means(self.model)

    def _cast_kernels(self):
        """Return a context in which convolutions find their kernels in half precision, cast by one operation for all."""
        if not self.casts:
            return contextlib.nullcontext()
        with torch.no_grad():
            torch._foreach_copy_(list(self.casts.values()), [self.weights[i] for i in self.casts])
        return torch_ops.kernels_replaced({id(self.weights[i]): cast for i, cast in self.casts.items()})

    def _gradients(self, loss, count):
        """Return the gradients of the mean loss of so many images, for all weights."""
        leaves: list[Any] = [self.casts.get(i, weight) for i, weight in enumerate(self.weights)]
        gradients = list(torch.autograd.grad(loss, leaves))
        if self.casts:
            whole = [torch.empty_like(self.weights[i]) for i in self.casts]
            torch._foreach_copy_(whole, [gradients[i] for i in self.casts])
            for i, gradient in zip(self.casts, whole, strict=True):
                gradients[i] = gradient
        return gradients

    def _count(self, loss, logits, labels):
        count_hits(self.model, loss, logits, labels)


def lay_out_as_gradients(variables):
    """Put kernels `(kh, kw, C_in, C_out)` into memory in the order C_out, kh, kw, C_in.

    Convolutions read kernels and write gradients in this order, so neither is transposed, and foreach operations find tensors of
    one layout. Values stay.
    """
    for variable in variables:
        if len(variable.shape) == 4:
            data = variable.value.data
            variable.value.data = data.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)


class EvaluationStep:
    """Evaluation step: adds a batch's loss and hits to the sums of the model's metrics, without Keras' code around layers."""

    def __init__(self, model, calls=()):
        self.model, self.forward = model, Forward(model, training=False, calls=calls)
        self.device = model.trainable_variables[0].value.device

    def __call__(self, images, labels):
        with torch.no_grad():
            logits = self.forward(images).float()
            count_hits(self.model, F.cross_entropy(logits, labels), logits, labels)
            return means(self.model)


def count_hits(model, loss, logits, labels):
    """Add a batch to the sums of an epoch's metrics: loss, accuracy and, if the model keeps it, macro F1."""
    hits = (logits.argmax(1) == labels.argmax(1)).sum()
    for metric, value in ((model.mean_loss, loss * len(labels)), (model.accuracy, hits)):
        metric.total.value.add_(value)
        metric.count.value.add_(len(labels))
    if model.f1:
        model.f1.update_state(labels, logits)


def means(model):
    """Return the metrics of an epoch so far, as tensors on the device."""
    found = {metric.name: metric.total.value / metric.count.value for metric in (model.mean_loss, model.accuracy)}
    return found | ({model.f1.name: model.f1.result()} if model.f1 else {})


def release_cached_memory():
    """Return memory that torch keeps for later tensors to the GPU."""
    gc.collect()
    torch.cuda.empty_cache()


def can_compile(device) -> bool:
    """Return whether torch.compile works for a device; if not (no C compiler, no Python headers), print one line."""
    try:
        torch.compile(torch.neg, backend=COMPILER)(torch.ones(1, device=device))
    except Exception as error:  # the compiler raises errors of many kinds
        reason = str(error).strip().splitlines()[0]
        print(f"note: blocks are not compiled, torch.compile fails here: {reason}", flush=True)
        return False
    return True
