"""The optimizer of a run: one of `rules`, with weight decay, groups of weights, clipping, accumulation and an average of weights.

It is a Keras optimizer, whose public `apply` all backends call: Keras' own step on jax and tensorflow, ours on torch.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from lab.optimizers import lists
from lab.optimizers.rules import RULES
from models.network import HEAD

FIRST_STEPS = 5.0  # at step t of a run, a moving average takes at least FIRST_STEPS / (FIRST_STEPS + t) of the new value;
EARLIER_FIRST_STEPS = 9.0  # of runs whose checkpoints do not record the number


def make_optimizer(config, learning_rate):
    """Return the optimizer of a config; `learning_rate` is a number or a schedule."""
    rule = RULES[config.optimizer]
    return Optimizer(
        config.optimizer,
        learning_rate,
        {name: getattr(config, name) for name in rule.takes},
        decay=config.weight_decay,
        average_decay=config.ema_decay,
        backbone_rate=config.backbone_rate,
        clip=config.gradient_clip,
        accumulate=config.accumulate,
    )


@dataclass(frozen=True)
class _Moved:
    """The weights that an optimizer moves. Keras would take those in an attribute of their own for variables of the optimizer."""

    weights: list
    kernels: set  # indices of the weights that decay
    groups: list  # (share of the learning rate, indices of its weights)


class Optimizer(keras.optimizers.Optimizer):
    """Optimizer by one of RULES.

    `decay` of a decoupled rule multiplies kernels by `1 - rate * decay`; of the others it adds `decay * kernel` to the gradient
    of every kernel, the L2 term of the papers and of torch's `weight_decay`. The learning rate of all weights but the
    classifier's is multiplied by `backbone_rate`. Gradients whose global norm is above `clip` are scaled down to it (Pascanu et
    al. 2013, algorithm 1); 0: never. With `accumulate` k, weights move after every k-th batch, by the mean of k gradients.

    With an `average_decay` it keeps moving averages of the weights, in `averages`, which soon forget the first steps. It records
    the norms of the last batch's gradients in `gradient_norms`, the first batch at which gradients were not finite in
    `fault_step` (-1: none) and which weights had those gradients in `faulty`.
    """

    def __init__(self, name, learning_rate, options, decay=0.0, average_decay=0.0, backbone_rate=1.0, clip=0.0, accumulate=1):
        super().__init__(learning_rate, name=name)
        self.rule, self.options = RULES[name], options
        self.decay, self.average_decay, self.backbone_rate = decay, average_decay, backbone_rate
        self.clip, self.accumulate = clip, accumulate
        self.first_steps = FIRST_STEPS
        # On the device, where a step has them without waiting for the host.
        self.rates = getattr(learning_rate, "table", None)  # of a schedule: those of all steps
        self.least_share = ops.convert_to_tensor(1.0 - average_decay, "float32")
        self.least_norm = ops.convert_to_tensor(clip, "float32")

    def build(self, variables):
        # In the order in which checkpoints of earlier versions number them.
        self.averages = self.add_optimizer_variables(variables, "average") if self.average_decay else None
        super().build(variables)
        kept = {name: name != "momentum" or "momentum" not in self.options for name in self.rule.slots}
        always = [name for name, is_always in kept.items() if is_always]
        self.slots = dict(zip(always, self.add_optimizer_variables(variables, always), strict=True)) if always else {}
        if self.options.get("momentum"):
            self.slots["momentum"] = self.add_optimizer_variables(variables, "momentum")
        none = keras.initializers.Constant(-1)
        self.fault_step = self.add_variable((), none, dtype=self.iterations.dtype, name="fault_step")
        self.faulty = self.add_variable((len(variables),), dtype="bool", name="faulty")
        self.gradient_norms = self.add_variable((len(variables),), name="gradient_norms")
        self.sums = self.add_optimizer_variables(variables, "gradient_sum") if self.accumulate > 1 else []
        kernels = {i for i, variable in enumerate(variables) if variable.name == "kernel"}
        self.moved = _Moved(list(variables), kernels, self._groups(variables))

    def _groups(self, variables):
        """Return [(share of the learning rate, indices of its weights), ...]: all weights, or the backbone separately."""
        if self.backbone_rate == 1.0:
            return [(1.0, list(range(len(variables))))]
        is_head = np.array([variable.path.startswith(HEAD) for variable in variables])
        found = [(1.0, np.flatnonzero(is_head).tolist()), (self.backbone_rate, np.flatnonzero(~is_head).tolist())]
        return [(share, group) for share, group in found if group]

    def apply(self, grads, trainable_variables=None):
        """Move the weights that the optimizer was built with, or else these, by their gradients."""
        if not self.built:
            self.build(list(trainable_variables or ()))
        gradients = list(grads)
        with lists.unrecorded():
            self.record_gradient_norms(lists.norms(gradients))
            if self.accumulate == 1:
                self._move(gradients)
            else:
                self._accumulate(gradients)
            lists.count(self.iterations)

    def record_gradient_norms(self, norms):
        """Record the norms `(weights,)` of a batch's gradients on the device, without reading them here."""
        is_faulty = ops.logical_not(ops.isfinite(norms))
        is_first = ops.logical_and(ops.any(is_faulty), self.fault_step.value < 0)
        self.fault_step.assign(ops.where(is_first, self.iterations.value, self.fault_step.value))
        self.faulty.assign(ops.where(is_first, is_faulty, self.faulty.value))
        self.gradient_norms.assign(norms)

    def _accumulate(self, gradients):
        """Add a batch's gradients to the sums; move the weights by them where the batch is the last of its `accumulate`."""
        sums = lists.add_([variable.value for variable in self.sums], gradients, 1.0 / self.accumulate)
        is_due = (self.iterations.value + 1) % self.accumulate == 0
        moved = [*self.moved.weights, *(self.averages or []), *(v for slots in self.slots.values() for v in slots)]
        before = [ops.copy(variable.value) for variable in moved]
        self._move(lists.mul(sums, 1.0))
        for variable, old in zip(moved, before, strict=True):
            variable.assign(ops.where(is_due, variable.value, old))
        lists.put(self.sums, lists.mul_(sums, 1.0 - ops.cast(is_due, "float32")))

    def _move(self, gradients):
        batch = self.iterations.value
        rate = ops.convert_to_tensor(self.learning_rate) if self.rates is None else lists.at(self.rates, batch)
        step = ops.cast(batch // self.accumulate if self.accumulate > 1 else batch, "float32")
        if self.clip:
            total = ops.sqrt(ops.sum(ops.square(lists.norms(gradients))))
            gradients = lists.mul(gradients, self.clip / ops.maximum(total, self.least_norm))
        for share, group in self.moved.groups:
            self._move_group(group, [gradients[i] for i in group], rate if share == 1.0 else rate * share, step)
        for variable in self.moved.weights:
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable.value))
        if self.averages:
            averages = [variable.value for variable in self.averages]
            gaps = lists.sub([variable.value for variable in self.moved.weights], averages)
            share = ops.maximum(self.first_steps / (step + self.first_steps), self.least_share)
            lists.put(self.averages, lists.add_(averages, lists.mul_(gaps, share)))

    def _move_group(self, group, gradients, rate, step):
        weights = [self.moved.weights[i].value for i in group]
        kernels = [place for place, i in enumerate(group) if i in self.moved.kernels]
        own = [weights[place] for place in kernels]
        if self.decay and kernels and self.rule.is_decoupled:
            for place, kernel in zip(kernels, lists.mul_(own, 1.0 - rate * self.decay), strict=True):
                weights[place] = kernel
        elif self.decay and kernels:
            decayed = lists.add_([gradients[place] for place in kernels], lists.mul(own, self.decay))
            for place, gradient in zip(kernels, decayed, strict=True):
                gradients[place] = gradient
        slots = {name: [variables[i].value for i in group] for name, variables in self.slots.items()}
        rate, number = (ops.cast(value, gradients[0].dtype) for value in (rate, step + 1.0))
        steps, slots = self.rule.steps(gradients, slots, rate, number, **self.options)
        for name, values in slots.items():
            lists.put([self.slots[name][i] for i in group], values)
        lists.put([self.moved.weights[i] for i in group], lists.add_(weights, steps))

    def get_config(self):
        own = ("decay", "average_decay", "backbone_rate", "clip", "accumulate", "options")
        return super().get_config() | {name: getattr(self, name) for name in own}
