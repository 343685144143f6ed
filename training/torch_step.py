"""The training step on torch: what a hand-written loop does, under Keras' `fit`.

Nothing in it waits for the device: sums of loss and hits stay there, in the variables of Keras' own metrics, and the
learning rate is a tensor. So a GPU can be given the whole step as one CUDA graph.
"""

from collections import Counter

import keras
import torch
import torch.nn.functional as F

import replicas
from callbacks.averaging import average_of
from errors import UserError
from models.blocks import ResidualBlock
from training.forward import Forward
from training.memory import keep_freed_memory
from training.muon import Muon
from training.optimizers import IN_OUR_STEP

COMPILER = "inductor"  # the backend of torch.compile


def choose_execution(execution, has_own_update):
    """What "auto" means here: a graph on a GPU (compiled blocks with Keras' update), else eager. Raises UserError."""
    has_gpu = torch.cuda.is_available()
    has_graph = has_gpu and has_own_update and replicas.SHARES == 1
    if execution == "graph" and not has_graph:
        optimizers = " or ".join(f"'{name}'" for name in IN_OUR_STEP)
        raise UserError(
            f"execution 'graph' needs a GPU, one process and optimizer {optimizers}, allowed here: auto, eager, compile"
        )
    if execution == "auto":
        return ("graph" if has_graph else "compile") if has_gpu else "eager"
    return execution


class TorchStep:
    """One step of a compiled `training.classifier.Classifier`, called with images `(N, H, W, C)` and labels `(N, classes)`, and
    with weights `(N,)` where images do not count alike.

    Returns the mean loss and accuracy of the epoch so far, as tensors on the device.
    """

    WARM_UP = 3  # steps before a graph is captured, in which libraries choose their kernels

    def __init__(self, model, execution):
        self.model, self.optimizer = model, model.optimizer
        self.variables = model.trainable_variables
        self.weights = [variable.value for variable in self.variables]
        self.rate = torch.zeros((), device=self.weights[0].device)
        self.has_own_update = self.optimizer.is_in_our_step
        if self.has_own_update:
            self.kernels = [i for i, variable in enumerate(self.variables) if variable.name == "kernel"]
            parts = self.optimizer.parts(self.variables)
            self.parts = [(share, part, [i for i in part if i in self.kernels]) for share, part in parts]
            self.velocities = [velocity.value for velocity in self.optimizer.momentums]
            self.averages = [average.value for average in average_of(self.model) or ()]
            self.constrained = [(variable.value, variable.constraint) for variable in self.variables if variable.constraint]
        self.execution = choose_execution(execution, self.has_own_update)
        if self.execution != "eager":
            self._compile_blocks()
        self.forward = Forward(model, training=True)
        self.graphs, self.steps_of = {}, Counter()  # by shape of the images
        if not self.rate.is_cuda:
            keep_freed_memory()

    def _compile_blocks(self):
        """Compiles block by block: what Keras does around a layer would break a graph of the whole network into pieces."""
        torch._dynamo.config.recompile_limit = 256  # each block is another version of the same code
        for layer in self.model.layers:
            if isinstance(layer, ResidualBlock):
                layer.call = torch.compile(layer.call, backend=COMPILER, dynamic=False)

    def __call__(self, *batch):
        if not self.has_own_update:
            return self._compute(*batch)
        with torch.no_grad():
            self.rate.copy_(keras.ops.convert_to_tensor(self.optimizer.learning_rate))
        logs = self._replay(*batch) if self.execution == "graph" else self._compute(*batch)
        with torch.no_grad():
            self.optimizer.iterations.value.add_(1)
        return logs

    def _compute(self, images, labels, weights=None):
        logits = self.forward(images)
        if weights is None:
            loss = F.cross_entropy(logits, labels)
        else:
            loss = (F.cross_entropy(logits, labels, reduction="none") * weights).mean()
        gradients = self._gradients(loss, len(labels))
        with torch.no_grad():
            if self.has_own_update:
                self.optimizer.watch(torch.stack(torch._foreach_norm(gradients)))
                self._update(gradients)
            else:
                self.optimizer.apply(gradients, self.variables)
            self._count(loss, logits, labels)
            return self._means()

    def _gradients(self, loss, count):
        """Of the mean loss of so many images, for all weights."""
        return torch.autograd.grad(loss, self.weights)

    def _count(self, loss, logits, labels):
        """Adds a step to the sums of the epoch's metrics."""
        hits = (logits.argmax(1) == labels.argmax(1)).sum()
        for metric, value in ((self.model._loss_tracker, loss * len(labels)), (self.model.accuracy, hits)):
            metric.total.value.add_(value)
            metric.count.value.add_(len(labels))
        if self.model.f1:
            self.model.f1.update_state(labels, logits)

    def _means(self):
        """The metrics of the epoch so far."""
        means = [self.model._loss_tracker, self.model.accuracy]
        logs = {metric.name: metric.total.value / metric.count.value for metric in means}
        return logs | ({self.model.f1.name: self.model.f1.result()} if self.model.f1 else {})

    def _update(self, gradients):
        """Keras' SGD, whose momentum carries the rate: v = m v - rate g, then w += v, or Nesterov's w += m v - rate g."""
        optimizer = self.optimizer
        if optimizer.l2:
            decay = torch._foreach_mul([self.weights[i] for i in self.kernels], optimizer.l2)
            torch._foreach_add_([gradients[i] for i in self.kernels], decay)
        if optimizer.weight_decay:
            for share, _, kernels in self.parts:
                if kernels:
                    torch._foreach_mul_([self.weights[i] for i in kernels], 1.0 - self.rate * (share * optimizer.weight_decay))
        steps = torch._foreach_mul(gradients, -self.rate)
        for share, part, _ in self.parts:
            if share != 1.0:
                torch._foreach_mul_([steps[i] for i in part], share)
        if self.velocities:
            torch._foreach_mul_(self.velocities, optimizer.momentum)
            torch._foreach_add_(self.velocities, steps)
        if self.velocities and optimizer.nesterov:
            torch._foreach_add_(steps, self.velocities, alpha=optimizer.momentum)
        elif self.velocities:
            steps = self.velocities
        if isinstance(optimizer, Muon):
            steps = optimizer.directed(steps, self.rate * optimizer.backbone_rate)
        torch._foreach_add_(self.weights, steps)
        for weight, constraint in self.constrained:
            weight.copy_(constraint(weight))
        if self.averages:
            gaps = torch._foreach_sub(self.weights, self.averages)
            torch._foreach_add_(self.averages, torch._foreach_mul(gaps, optimizer.average_share()))

    def _replay(self, *batch):
        """The step as a CUDA graph, one for each shape of batch (an epoch's last is smaller, growing images grow)."""
        shape = tuple(batch[0].shape)
        self.steps_of[shape] += 1
        if self.steps_of[shape] <= self.WARM_UP:
            return self._compute_beside(*batch)
        if shape not in self.graphs:
            self.graphs[shape] = self._record(*(part.clone() for part in batch))
        graph, inputs, logs = self.graphs[shape]
        for buffer, value in zip(inputs, batch, strict=True):
            buffer.copy_(value)
        graph.replay()
        return logs

    def _record(self, *inputs):
        """(graph, the tensors it reads, the tensors it leaves) of a step, which recording does not run."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logs = self._compute(*inputs)
        return graph, inputs, logs

    def _compute_beside(self, *batch):
        """A step on a stream of its own, as graphs want their warm-up."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            logs = self._compute(*batch)
        torch.cuda.current_stream().wait_stream(stream)
        return logs
