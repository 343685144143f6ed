"""Structure of a residual block, found by observing a call: which layer reads what, and how branch and shortcut are joined."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from foundation.randomness import generator
from lab.reports.observing import observed
from models.attention import ATTENTIONS
from models.layers import AveragePool2x2, Conv2D, PadChannels, activate
from models.norms import Norm
from models.stochastic_depth import StochasticDepth

ACTIVATION_NAMES = {"relu": "ReLU", "mish": "Mish", "silu": "SiLU", "gelu": "GELU"}
PIXELS = 8  # maximum height and width of the images that a block is called with


@dataclass(frozen=True)
class Step:
    """A layer of a block, or an activation, as (kind, words)."""

    kind: str  # "convolution", "norm", "activation", "attention", "pooling" or "other"
    words: str


@dataclass(frozen=True)
class Trace:
    """Trace of a block's call: branch and shortcut part after `trunk` and are added if `joined`; `after` follows."""

    trunk: tuple[Step, ...]
    branch: tuple[Step, ...]
    shortcut: tuple[Step, ...]
    joined: bool
    after: tuple[Step, ...]

    @property
    def steps(self):
        return self.trunk + self.branch + self.shortcut + self.after


def trace(block):
    """Return the Trace of a built block, called once at inference on random images. Raises ValueError if it can't be followed.

    A layer's input shows whose output it read: it equals the output, or the activation of the output. Values decide, not names.
    """
    watched = _Watched(block)
    for after in ((), (watched.activation,)):
        for i, (value, steps) in reversed(list(enumerate(watched.seen))):
            if watched.gives(value, after):
                return Trace((), steps, (), False, after)
            for other, other_steps in reversed(watched.seen[:i]):
                if value.shape == other.shape and watched.gives(value + other, after):
                    return _parted(*sorted((steps, other_steps), key=len, reverse=True), after)
    raise ValueError(f"{block.name} gives what none of its layers, and no sum of two of them, explains")


class _Watched:
    """Record of a block's call: `seen` holds every value with the steps that led to it, in the order of computation."""

    def __init__(self, block):
        self.name = block.activation
        self.activation = Step("activation", ACTIVATION_NAMES[block.activation])
        self.tolerance = 1e-4 if block.compute_dtype == "float32" else 2e-2
        _, height, width, channels = block.input.shape
        shape = (2, min(height, PIXELS), min(width, PIXELS), channels)
        images = generator(0, "block trace").standard_normal(shape).astype("float32")
        self.seen = [(images, ())]
        with observed(list(block._flatten_layers(include_self=False, recursive=False)), self.note):
            self.result = ops.convert_to_numpy(ops.cast(block(images, training=False), "float32"))

    def note(self, layer, taken, given):
        self.seen.append((given, (*self.source(taken), step_of(layer))))

    def source(self, taken):
        """Return the steps that led to a layer's input."""
        for value, steps in reversed(self.seen):
            if self.equal(value, taken):
                return steps
            if self.equal(self.activated(value), taken):
                return (*steps, self.activation)
        raise ValueError("a layer was given what no layer before it explains")

    def gives(self, value, after):
        return self.equal(self.activated(value) if after else value, self.result)

    def activated(self, value):
        return ops.convert_to_numpy(activate(self.name, ops.convert_to_tensor(value)))

    def equal(self, one, other):
        return one.shape == other.shape and np.allclose(one, other, self.tolerance, self.tolerance * np.abs(other).max())


def _parted(branch, shortcut, after):
    """Return the Trace of two sequences of steps that begin alike and are added at their ends."""
    shared = 0
    while shared < len(shortcut) and branch[shared] is shortcut[shared]:
        shared += 1
    return Trace(branch[:shared], branch[shared:], shortcut[shared:], True, after)


def step_of(layer):
    """Return the Step of a layer, in words from its own attributes."""
    stride = getattr(layer, "stride", 1)
    halving = f", stride {stride}" if stride > 1 else ""
    if isinstance(layer, Conv2D):
        groups = f" in {layer.groups} groups" if layer.groups > 1 else ""
        return Step("convolution", f"{layer.size}×{layer.size} conv, {layer.filters}{groups}{halving}")
    if isinstance(layer, Norm):
        return Step("norm", _spaced(layer))
    if isinstance(layer, AveragePool2x2):
        return Step("pooling", f"2×2 mean{halving}")
    if isinstance(layer, PadChannels):
        return Step("pooling", f"zeros to {layer.filters} channels{halving}")
    if isinstance(layer, StochasticDepth):
        return Step("other", f"dropped with chance {layer.rate:.2g}")
    if isinstance(layer, tuple(attention for attention in ATTENTIONS.values() if attention)):
        return Step("attention", _spaced(layer))
    if isinstance(layer, keras.layers.Dense):
        return Step("other", f"dense, {layer.units}")
    return Step("other", _spaced(layer))


def _spaced(layer):
    """Return a layer's class in words: GroupNorm becomes "group norm"; CBAM stays."""
    name = type(layer).__name__
    return name if name.isupper() else "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
