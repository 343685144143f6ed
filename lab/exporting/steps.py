"""A network as a list of plain steps, which another program computes one after the other."""

from dataclasses import dataclass

import keras

from models.blocks import ResidualBlock
from models.network import Activation

ADD = "add"


@dataclass(frozen=True)
class Step:
    """`what` is a layer, the name of an activation, or ADD. `reads` are numbers of results: 0 are the images, i is what the i-th
    step returned."""

    name: str
    what: keras.layers.Layer | str
    reads: tuple[int, ...]


def steps_of(model):
    """Return the Steps of a `models.network.Network` at inference, residual blocks taken apart; the last returns the logits."""
    steps, numbers = [], [0]
    for call in model.calls:
        layer, reads = call.layer, [numbers[i] for i in call.reads]
        if isinstance(layer, ResidualBlock):
            number = _through_block(steps, layer, *reads)
        else:
            what = layer.activation if isinstance(layer, Activation) else layer
            number = _append(steps, layer.name, what, *reads)
        numbers.append(number)
    return steps


def _append(steps, name, what, *reads):
    steps.append(Step(name, what, reads))
    return len(steps)


def _through_block(steps, block, number):
    bound = block.bound
    start = _through(steps, block, bound.trunk, number)
    number = _through(steps, block, bound.branch, start)
    if block.spec.wiring.is_joined:
        number = _append(steps, f"{block.name}_add", ADD, number, _through(steps, block, bound.shortcut, start))
    return _through(steps, block, bound.after, number)


def _through(steps, block, stretch, number):
    for part, is_activated in stretch:
        if part:
            number = _append(steps, f"{block.name}_{part.name}", part, number)
        if is_activated:
            number = _append(steps, f"{block.name}_activation_{len(steps) + 1}", block.spec.activation, number)
    return number
