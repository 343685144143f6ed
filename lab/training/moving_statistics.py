"""Moving statistics of norms over a batch: in the first steps, when they have seen few batches of a network that changes fast,
and beside an average of the weights, which they serve.
"""

import numpy as np
from keras import ops

from lab.optimizers.optimizer import FIRST_STEPS
from lab.training.backends import for_backend
from models.layers import layers_of
from models.norms import BatchNormFromScratch


def scales(momentum, first_steps=FIRST_STEPS):
    """Return factors `(steps, 2)` for the moving statistics before and after each of the first steps; 1 in the last row.

    A norm moves its statistics to `momentum * old + (1 - momentum) * batch`. Multiplied by these, they become
    `(1 - share) * old + share * batch` with a share of n / (t + n) at step t, n being `first_steps`, as long as that is
    more than 1 - momentum.
    """
    steps = np.arange(round(first_steps * momentum / (1.0 - momentum), 6) + 1)
    share = first_steps / (steps + first_steps)
    after = share / (1.0 - momentum)
    factors = np.stack([(1.0 - share) / (after * momentum), after], 1)
    factors[-1] = 1.0
    return factors.astype("float32")


class MovingStatistics:
    """Moving statistics of a model's norms, which follow as fast as the average of the weights does.

    A norm alone would start from mean 0 and variance 1. A third of that start is left after ten steps, and most of the rest is
    of other weights than those that the statistics serve. So the first batch replaces the start, and each further batch weighs
    as much as the weights of its step weigh in their average. Where val is measured with an average of the weights, this holds
    for all later steps too: an average over a hundred steps needs statistics of as many. Without an average, the rule is the
    norms' own after 45 steps. Frozen norms keep their statistics.
    """

    def __init__(self, model, first_steps=FIRST_STEPS, is_scaled=True, is_averaged=True):
        """Set the rule by which a run began: in earlier versions statistics were not scaled, or kept the norms' own momentum."""
        self.model, self.is_scaled, self.is_averaged = model, is_scaled, is_averaged
        norms = [layer for layer in layers_of(model) if isinstance(layer, BatchNormFromScratch) and layer.trainable]
        # An average of weights moves once in `accumulate` batches, statistics with each.
        decay = model.optimizer.average_decay ** (1.0 / model.optimizer.accumulate)
        for norm in norms:
            norm.take_momentum(decay if is_averaged else 0.0)
        self.groups = []  # of variables and the factors of their norms' momentum
        for momentum in sorted({norm.momentum for norm in norms} - {0.0}):
            variables = [v for norm in norms if norm.momentum == momentum for v in (norm.moving_mean, norm.moving_variance)]
            self.groups.append((variables, scales(momentum, first_steps)))

    def around(self, step):
        """Return a training step as `fit` on this backend calls it, with the statistics scaled before and after it."""
        if not self.is_scaled or not self.groups:
            return step
        return for_backend(self._around_torch, self._around_jax, self._around_tensorflow)(step)

    def _around_torch(self, step):
        """Count the steps on the host; once the factors are 1, nothing is done."""
        import torch

        groups = [([variable.value.data for variable in variables], factors.tolist()) for variables, factors in self.groups]
        count = int(self.model.optimizer.iterations)

        def scale(when):
            for tensors, factors in groups:
                if count < len(factors) - 1:
                    torch._foreach_mul_(tensors, factors[count][when])

        def scaled(*batch):
            nonlocal count
            scale(0)
            logs = step(*batch)
            scale(1)
            count += 1
            return logs

        return scaled

    def _around_jax(self, step):
        optimizer = self.model.optimizer
        place = next(i for i, variable in enumerate(optimizer.variables) if variable is optimizer.iterations)
        places = {id(variable): i for i, variable in enumerate(self.model.non_trainable_variables)}

        def scale(values, count, when):
            values = list(values)
            for variables, factors in self.groups:
                for i in (places[id(variable)] for variable in variables):
                    values[i] = values[i] * _factor(factors, count, when)
            return values

        def scaled(state, data):
            trainable, others, slots, metrics = state
            count = slots[place]
            logs, state = step((trainable, scale(others, count, 0), slots, metrics), data)
            trainable, others, slots, metrics = state
            return logs, (trainable, scale(others, count, 1), slots, metrics)

        return scaled

    def _around_tensorflow(self, step):
        def scale(count, when):
            for variables, factors in self.groups:
                for variable in variables:
                    variable.assign(variable * _factor(factors, count, when))

        def scaled(data):
            count = self.model.optimizer.iterations + 0  # a tensor, which the step does not raise as it raises the variable
            scale(count, 0)
            logs = step(data)
            scale(count, 1)
            return logs

        return scaled


def _factor(factors, count, when):
    return ops.take(factors[:, when], ops.minimum(ops.cast(count, "int32"), len(factors) - 1))
