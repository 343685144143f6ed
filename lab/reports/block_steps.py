"""Steps of a residual block in words, in the order of its wiring."""

from dataclasses import dataclass

import keras

from models.architecture import ACTIVATION
from models.attention import ATTENTIONS
from models.costs import MAC_KINDS, costs_of_layers, count_elements
from models.layers import AveragePool2x2, Conv2D, PadChannels, with_parts
from models.norms import Norm
from models.stochastic_depth import StochasticDepth

ACTIVATION_NAMES = {"relu": "ReLU", "mish": "Mish", "silu": "SiLU", "gelu": "GELU"}


@dataclass(frozen=True)
class Step:
    """A part of a block, or an activation, as (kind, words)."""

    kind: str  # "convolution", "norm", "activation", "attention", "pooling" or "other"
    words: str


@dataclass(frozen=True)
class BlockSteps:
    """Steps of a block: branch and shortcut part after `trunk` and are added if `joined`; `after` follows."""

    trunk: tuple[Step, ...]
    branch: tuple[Step, ...]
    shortcut: tuple[Step, ...]
    joined: bool
    after: tuple[Step, ...]


def steps_of(block) -> BlockSteps:
    """Return the BlockSteps of a block, as its wiring declares them."""
    wiring, parts = block.spec.wiring, block.parts
    activation = Step("activation", ACTIVATION_NAMES[block.spec.activation])

    def in_words(names):
        return tuple(activation if name == ACTIVATION else step_of(parts[name]) for name in names)

    trunk, branch, shortcut = map(in_words, (wiring.trunk, wiring.branch, wiring.shortcut))
    return BlockSteps(trunk, branch, shortcut, wiring.is_joined, in_words(wiring.after))


@dataclass(frozen=True)
class StepCost:
    """A step of a block with what it costs for one image: where it stands, shapes without the batch, weights and MACs."""

    place: str  # "before both", "branch", "shortcut", "sum" or "after"
    words: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    weights: int = 0
    macs: int = 0


def step_costs(block):
    """Return the StepCosts of a block of a network, in the order of its wiring; where it is joined, the sum is one of them."""
    wiring, steps = block.spec.wiring, steps_of(block)
    groups = {"before both": steps.trunk, "branch": steps.branch, "shortcut": steps.shortcut, "after": steps.after}
    named = [(place, step) for place, group in groups.items() for step in group]
    found = []
    for (place, step), (part, reads, writes) in zip(named, block.shapes(tuple(block.input.shape)), strict=True):
        layers = list(with_parts(part)) if part else []
        costs = costs_of_layers(layers)
        weights = count_elements(part.variables) if part else 0
        macs = sum(costs[kind].operations for kind in MAC_KINDS)
        found.append(StepCost(place, step.words, reads[1:], writes[1:], weights, macs))
    if wiring.is_joined:
        shape = tuple(block.output.shape[1:])
        end = len(found) - len(steps.after)
        found.insert(end, StepCost("sum", "branch + shortcut", shape, shape))
    return found


def step_of(layer) -> Step:
    """Return the Step of a layer, in words from its own attributes."""
    stride = getattr(layer, "stride", 1)
    halving = f", stride {stride}" if stride > 1 else ""
    if isinstance(layer, Conv2D):
        groups = f" in {layer.groups} groups" if layer.groups > 1 else ""
        return Step("convolution", f"{layer.size}×{layer.size} conv, {layer.filters}{groups}{halving}")
    if isinstance(layer, Norm):
        return Step("norm", _spaced(layer) + (" with activation" if layer.is_activated else ""))
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
