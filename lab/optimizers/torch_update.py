"""Update of all weights at once on torch: foreach operations on the device, which need nothing from the host."""

import math

import torch

from callbacks.averaging import average_of
from lab.optimizers.muon import Muon


def lay_out_as_gradients(variables):
    """Put kernels `(kh, kw, C_in, C_out)` into memory in the order C_out, kh, kw, C_in.

    Convolutions read kernels and write gradients in this order, so neither is transposed, and foreach operations find tensors of
    one layout. Values stay.
    """
    for variable in variables:
        if len(variable.shape) == 4:
            data = variable.value.data
            variable.value.data = data.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)


class Update:
    """Update that `lab.optimizers.optimizers` defines for the weights of a compiled model, called with their gradients.

    It reads the step's number and learning rate on the device and increases the number by one, so that a CUDA graph can hold it.
    """

    def __init__(self, model):
        self.model, self.optimizer = model, model.optimizer
        variables, optimizer = model.trainable_variables, self.optimizer
        lay_out_as_gradients([*variables, *optimizer.variables])
        self.weights = [variable.value for variable in variables]
        self.kernels = [i for i, variable in enumerate(variables) if variable.name == "kernel"]
        parts = optimizer.parts(variables)
        self.parts = [(share, part, [i for i in part if i in self.kernels]) for share, part in parts]
        self.averages = [average.value for average in average_of(model) or ()]
        self.constrained = [(variable.value, variable.constraint) for variable in variables if variable.constraint]
        self.rate = torch.zeros((), device=self.weights[0].device)
        self.steps_of = _adam if hasattr(optimizer, "beta_2") else _momentum

    def __call__(self, gradients):
        self._read_rate()
        optimizer = self.optimizer
        optimizer.watch(torch.stack(torch._foreach_norm(gradients)))
        if optimizer.l2:
            decay = torch._foreach_mul([self.weights[i] for i in self.kernels], optimizer.l2)
            torch._foreach_add_([gradients[i] for i in self.kernels], decay)
        if optimizer.weight_decay:
            for share, _, kernels in self.parts:
                if kernels:
                    torch._foreach_mul_([self.weights[i] for i in kernels], 1.0 - self.rate * (share * optimizer.weight_decay))
        torch._foreach_add_(self.weights, self.steps_of(self, gradients))
        for weight, constraint in self.constrained:
            weight.copy_(constraint(weight))
        if self.averages:
            gaps = torch._foreach_sub(self.weights, self.averages)
            torch._foreach_add_(self.averages, torch._foreach_mul(gaps, optimizer.average_share()))
        optimizer.iterations.value.add_(1)

    def _read_rate(self):
        """Read the learning rate of this step, from its table on the device or from Keras' variable there."""
        table = self.optimizer.rate_table
        if table is None:
            self.rate.copy_(self.optimizer.learning_rate.value)
        else:
            place = self.optimizer.iterations.value.long().clamp(max=len(table) - 1)
            self.rate.copy_(table.take(place))

    def scaled(self, tensors):
        """Multiply tensors of all weights, in place, by the share of the learning rate of each weight's part of the network."""
        for share, part, _ in self.parts:
            if share != 1.0:
                torch._foreach_mul_([tensors[i] for i in part], share)
        return tensors


def _momentum(update, gradients):
    """Return the steps of Keras' SGD, whose momentum carries the rate.

    v = m v - rate g, then w += v; with Nesterov's method w += m v - rate g.
    """
    optimizer = update.optimizer
    steps = update.scaled(torch._foreach_mul(gradients, -update.rate))
    velocities = [velocity.value for velocity in optimizer.momentums]
    if velocities:
        torch._foreach_mul_(velocities, optimizer.momentum)
        torch._foreach_add_(velocities, steps)
    if velocities and optimizer.nesterov:
        torch._foreach_add_(steps, velocities, alpha=optimizer.momentum)
    elif velocities:
        steps = velocities
    if isinstance(optimizer, Muon):
        steps = optimizer.directed(steps, update.rate * optimizer.backbone_rate)
    return steps


def _adam(update, gradients):
    """Return the steps of Keras' Adam.

    It is algorithm 1 of Kingma & Ba 2015, with epsilon added to the root of the uncorrected second moment.
    """
    optimizer = update.optimizer
    means, squares = (_slots(optimizer, name) for name in ("momentum", "velocity"))
    step = (optimizer.iterations.value + 1).float()
    corrections = [-torch.expm1(step * math.log(beta)) for beta in (optimizer.beta_1, optimizer.beta_2)]  # 1 - beta^step
    rate = update.rate * corrections[1].sqrt() / corrections[0]
    torch._foreach_mul_(means, optimizer.beta_1)
    torch._foreach_add_(means, gradients, alpha=1 - optimizer.beta_1)
    torch._foreach_mul_(squares, optimizer.beta_2)
    torch._foreach_add_(squares, torch._foreach_mul(gradients, gradients), alpha=1 - optimizer.beta_2)
    roots = torch._foreach_sqrt(squares)
    torch._foreach_add_(roots, optimizer.epsilon)
    return update.scaled(torch._foreach_div(torch._foreach_mul(means, -rate), roots))


def _slots(optimizer, name):
    return [variable.value for variable in optimizer.variables if variable.name.endswith(f"_{name}")]
