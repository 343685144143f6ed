"""Update rules: what an optimizer adds to the weights. To add one, write a function with `@rule`, and its name in `settings`.

A rule takes the gradients of all weights, their slots (`{name: list of tensors}`, zeros before the first step), the learning rate
and the number of the step, from 1. It returns what is added to the weights, and the new slots. The same code runs on every
backend, and on a GPU within a CUDA graph: rate and step are tensors there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from keras import ops

from lab.optimizers import lists
from lab.optimizers.orthogonal import orthogonal_steps

RULES = {}


@dataclass(frozen=True)
class Rule:
    """A row of the table of optimizers.

    `slots` are the names of its tensors beside every weight; "momentum" is kept only if the momentum is not 0. `takes` are the
    settings that it gets by keyword. `is_decoupled`: weights decay by themselves (Loshchilov & Hutter 2019), not through the
    gradient. `usual_rate` is the learning rate where the user names none. `rate_follows_steps`: of many steps; runs of few, and
    small batches, have a smaller one. Rules that divide by the size of the gradients take steps as long as the rate, so that a
    smaller one would lead nowhere in few steps.
    """

    steps: Callable
    slots: tuple[str, ...]
    takes: tuple[str, ...]
    is_decoupled: bool
    usual_rate: float
    rate_follows_steps: bool


def rule(usual_rate, *, slots=(), takes=(), is_decoupled=False, rate_follows_steps=False):
    """Enter a function into the table of optimizers, under its name."""

    def enter(steps):
        RULES[steps.__name__] = Rule(steps, slots, takes, is_decoupled, usual_rate, rate_follows_steps)
        return steps

    return enter


# Usual rates: what the papers use for SGD (Muon's steps are scaled to suit it) and Lion, Keras' defaults for Adam, and a tenth of
# its default for RMSprop, whose momentum of 0.9 makes its steps ten times as long.


@rule(0.1, slots=("momentum",), takes=("momentum", "nesterov"), rate_follows_steps=True)
def sgd(gradients, slots, rate, step, momentum, nesterov):
    """v = m v - rate g, w += v; with Nesterov's method w += m v - rate g. The velocity carries the rate, as in Keras."""
    steps = lists.mul(gradients, -rate)
    if not momentum:
        return steps, slots
    velocities = lists.add_(lists.mul_(slots["momentum"], momentum), steps)
    return (lists.add_(steps, velocities, momentum) if nesterov else velocities), {"momentum": velocities}


@rule(0.1, slots=("momentum",), takes=("momentum", "nesterov"), is_decoupled=True, rate_follows_steps=True)
def muon(gradients, slots, rate, step, momentum, nesterov):
    """SGD whose steps of convolution kernels are made orthogonal (Jordan et al. 2024), see `orthogonal_steps`."""
    steps, slots = sgd(gradients, slots, rate, step, momentum, nesterov)
    return orthogonal_steps(steps, rate), slots


@rule(0.001, slots=("momentum", "velocity"))
def adam(gradients, slots, rate, step, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Algorithm 1 of Kingma & Ba 2015, in the order of its section 2: epsilon is added to the root of the uncorrected moment."""
    means = lists.add_(lists.mul_(slots["momentum"], beta_1), gradients, 1 - beta_1)
    squares = lists.add_(lists.mul_(slots["velocity"], beta_2), lists.product(gradients, gradients), 1 - beta_2)
    corrections = [-ops.expm1(step * math.log(beta)) for beta in (beta_1, beta_2)]  # 1 - beta^step
    rate = rate * ops.sqrt(corrections[1]) / corrections[0]
    roots = lists.shift_(lists.root(squares), epsilon)
    return lists.ratio(lists.mul(means, -rate), roots), {"momentum": means, "velocity": squares}


@rule(0.001, slots=("momentum", "velocity"), is_decoupled=True)
def adamw(gradients, slots, rate, step, **options):
    """Adam, with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2)."""
    return adam(gradients, slots, rate, step, **options)


@rule(0.0001, slots=("velocity", "momentum"), takes=("momentum",))
def rmsprop(gradients, slots, rate, step, momentum, rho=0.9, epsilon=1e-7):
    """v = rho v + (1 - rho) g^2, then a step of rate g / sqrt(v + epsilon), with momentum (Hinton 2012, lecture 6e)."""
    squares = lists.add_(lists.mul_(slots["velocity"], rho), lists.product(gradients, gradients), 1 - rho)
    roots = lists.root(lists.shift_(lists.mul(squares, 1.0), epsilon))
    descents = lists.ratio(lists.mul(gradients, rate), roots)
    if not momentum:
        return lists.mul(descents, -1.0), {"velocity": squares}
    velocities = lists.add_(lists.mul_(slots["momentum"], momentum), descents)  # without the sign, as Keras keeps them
    return lists.mul(velocities, -1.0), {"velocity": squares, "momentum": velocities}


@rule(0.0003, slots=("momentum",), is_decoupled=True)
def lion(gradients, slots, rate, step, beta_1=0.9, beta_2=0.99):
    """Return the sign of an average that weighs the new gradient more than the one it keeps (Chen et al. 2023, algorithm 2)."""
    mixed = lists.add_(lists.mul(slots["momentum"], beta_1), gradients, 1 - beta_1)
    means = lists.add_(lists.mul_(slots["momentum"], beta_2), gradients, 1 - beta_2)
    return lists.mul(lists.sign(mixed), -rate), {"momentum": means}
