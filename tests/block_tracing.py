"""Structure of a residual block, found by observing a call of it: values decide which layer reads what, not names.

The wiring that a block declares is compared with it.
"""

import contextlib
from functools import partial

import numpy as np
from keras import ops

from foundation.randomness import generator
from models.architecture import ACTIVATION, Wiring
from models.layers import activate

PIXELS = 8  # maximum height and width of the images that a block is called with


def trace(block):
    """Return the Wiring of a built block, called once at inference on random images. Raises ValueError if it can't be followed.

    A part's input shows whose output it read: it equals the output, or the activation of the output.
    """
    watched = Watched(block)
    for after in ((), (ACTIVATION,)):
        for i, (value, steps) in reversed(list(enumerate(watched.seen))):
            if watched.gives(value, after):
                return Wiring((), steps, (), False, after)
            for other, other_steps in reversed(watched.seen[:i]):
                if value.shape == other.shape and watched.gives(value + other, after):
                    return parted(*sorted((steps, other_steps), key=is_shortcut), after)
    raise ValueError(f"{block.name} gives what none of its parts, and no sum of two of them, explains")


def is_shortcut(steps):
    """Put the sequence with parts of a shortcut last of two that are added, or else the shorter one."""
    return any(step.startswith("shortcut") for step in steps), -len(steps)


class Watched:
    """Record of a block's call: `seen` holds every value with the steps that led to it, in the order of computation."""

    def __init__(self, block):
        self.name = block.spec.activation
        _, height, width, channels = block.input.shape
        shape = (2, min(height, PIXELS), min(width, PIXELS), channels)
        images = generator(0, "block trace").standard_normal(shape).astype("float32")
        self.seen = [(images, ())]
        with observed(block.parts, self.note):
            self.result = numpy_of(block(images, training=False))

    def note(self, name, taken, given):
        self.seen.append((given, (*self.source(taken), name)))

    def source(self, taken):
        """Return the steps that led to a part's input."""
        for value, steps in reversed(self.seen):
            if self.equal(value, taken):
                return steps
            if self.equal(self.activated(value), taken):
                return (*steps, ACTIVATION)
        raise ValueError("a part was given what no part before it explains")

    def gives(self, value, after):
        return self.equal(self.activated(value) if after else value, self.result)

    def activated(self, value):
        return ops.convert_to_numpy(activate(self.name, ops.convert_to_tensor(value)))

    def equal(self, one, other):
        return one.shape == other.shape and np.allclose(one, other, 1e-4, 1e-4 * np.abs(other).max())


@contextlib.contextmanager
def observed(parts, note):
    """While the block runs, every call of a part is told to `note(name, input, output)`, by a function in its place."""

    def telling(name, call, x, *args):
        taken = numpy_of(x)  # an operation may overwrite what it is given
        result = call(x, *args)
        note(name, taken, numpy_of(result))
        return result

    for name, part in parts.items():
        part.call = partial(telling, name, part.call)
    try:
        yield
    finally:
        for part in parts.values():
            del part.call


def numpy_of(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32")).copy()


def parted(branch, shortcut, after):
    """Return the Wiring of two sequences of steps that begin alike and are added at their ends."""
    shared = 0
    while shared < len(shortcut) and branch[shared] == shortcut[shared]:
        shared += 1
    return Wiring(branch[:shared], branch[shared:], shortcut[shared:], True, after)
