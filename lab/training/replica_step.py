"""The training step where several processes train one network (torchrun): gradients, statistics and metrics of all of them."""

import torch
from torch.nn.parallel import DistributedDataParallel

from foundation import replicas
from lab.training.torch_step import TorchStep


class ReplicaStep(TorchStep):
    """A step on this process's share of a batch that leaves the same in every process: what one process would have had, but for
    norms over a batch, unless they are synchronized (`models.norms.synchronize`), and stochastic depth in unequal shares.

    Torch's DistributedDataParallel averages the gradients while they are computed. Moving statistics are averaged and metrics
    added up after every step, so that a checkpoint of any moment holds those of all processes.
    """

    casts_at_once = False  # DistributedDataParallel averages gradients of the weights themselves

    def __init__(self, model, execution):
        super().__init__(model, execution)
        module = _Module(self.forward, self.weights)
        self.forward = DistributedDataParallel(module, gradient_as_bucket_view=True)
        names = ("moving_mean", "moving_variance")
        self.statistics = [v.value.data for v in model.non_trainable_variables if v.name in names]
        self.sums = [variable.value.data for variable in model.metrics_variables]

    def _gradients(self, loss, count):
        # Shares differ by an image where the batch can't be divided, so sums are averaged, and divided by all images at last.
        (loss * count).backward()
        total = torch.full((1,), float(count), device=loss.device)
        replicas.all_reduce_sum([total, *self.statistics])
        gradients = [weight.grad for weight in self.weights]
        for weight in self.weights:
            weight.grad = None
        torch._foreach_mul_(gradients, (replicas.NUM_SHARDS / total)[0])
        if self.statistics:
            torch._foreach_div_(self.statistics, replicas.NUM_SHARDS)
        return gradients

    def _count(self, loss, logits, labels):
        before = [value.clone() for value in self.sums]
        torch._foreach_zero_(self.sums)
        super()._count(loss, logits, labels)
        replicas.all_reduce_sum(self.sums)
        torch._foreach_add_(self.sums, before)


class _Module(torch.nn.Module):
    """The forward pass as a module that owns the weights."""

    def __init__(self, forward, weights):
        super().__init__()
        self.compute = forward
        self.weights = torch.nn.ParameterList(weights)

    def forward(self, images):
        return self.compute(images)
