"""What a network costs for one image, read off its layers and their shapes: the one counter of parameters and operations.

Convention: a multiply-accumulate (MAC) is one multiplication and one addition, so FLOPs = 2 MACs. Convolutions and dense layers
are counted in MACs, without padding's zeros left out, as papers count. What is usually left out stands apart, in operations an
element: a norm takes 1 (scale and shift), or 3 where its statistics are the image's own; an activation, an addition or the
product with a gate 1 for each element it writes; pooling 1 for each it reads. "Activations" are the elements a layer writes
(Dollar et al. 2021, section 3.1, count those of convolutions).
"""

from collections import defaultdict
from dataclasses import dataclass
from math import prod

import keras

from models.attention import CBAM, SqueezeExcite
from models.blocks import ResidualBlock
from models.layers import AveragePool2x2, Conv2D, MaxPool3x3, PadChannels
from models.network import Activation
from models.norms import Folded, Norm
from models.stochastic_depth import StochasticDepth

MAC_KINDS = ("convolution", "grouped convolution", "dense")
KINDS = (*MAC_KINDS, "norm", "element-wise", "pooling")


@dataclass
class Cost:
    """Of the layers of one kind: their weights, MACs (of MAC_KINDS) or operations (of the others), elements written."""

    parameters: int = 0
    operations: int = 0
    activations: int = 0


def costs_of(model):
    """{kind: Cost} for one image of the model's input size, all KINDS in order."""
    totals = defaultdict(Cost, {kind: Cost() for kind in KINDS})
    for layer in model._flatten_layers():
        rule = next((rule for kind, rule in RULES.items() if isinstance(layer, kind)), None)
        if rule is None:
            continue
        read = _shape_read(layer)[1:]
        written = layer.compute_output_shape((None, *read))[1:]
        for kind, operations, activations in rule(layer, read, written):
            totals[kind].operations += operations
            totals[kind].activations += activations
        if isinstance(layer, Conv2D | keras.layers.Dense | Norm):
            totals[kind].parameters += count_elements(layer.variables)
    return dict(totals)


def count_elements(variables):
    """Numbers that variables hold together."""
    return sum(prod(variable.shape) for variable in variables)


def count_macs(model):
    """Multiply-accumulates of the convolutions and dense layers for one image."""
    costs = costs_of(model)
    return sum(costs[kind].operations for kind in MAC_KINDS)


def _shape_read(layer):
    """What a layer was built for; one without weights was not built, and says what the graph gives it."""
    built_for = layer.get_build_config()
    return built_for["input_shape"] if built_for else layer.input.shape


def _convolution(layer, read, written):
    yield (
        "grouped convolution" if layer.groups > 1 else "convolution",
        prod(written[:2]) * prod(layer.kernel.shape),
        prod(written),
    )


def _dense(layer, read, written):
    yield "dense", prod(layer.kernel.shape), prod(written)


def _norm(layer, read, written):
    yield "norm", 0 if isinstance(layer, Folded) else prod(read) * (1 if layer.is_foldable else 3), prod(written)


def _activation(layer, read, written):
    yield "element-wise", prod(written), prod(written)


def _block(block, read, written):
    """The activations, one for each norm of the branch and as large, and the addition."""
    activated = sum(prod(_shape_read(norm)[1:]) for norm in block.norms)
    added = 0 if block.shortcut == "none" else prod(written)
    yield "element-wise", activated + added, activated + added


def _squeeze_excite(layer, read, written):
    """The channels' means; the product with the gates. (Its dense layers are counted as such.)"""
    yield "pooling", prod(read), read[-1]
    yield "element-wise", prod(written), prod(written)


def _cbam(layer, read, written):
    """Means and maxima of channels, then of pixels; two products; its two dense layers run twice and are counted once."""
    height, width, channels = read
    yield "pooling", 4 * prod(read), 2 * channels + 2 * height * width
    yield "element-wise", 2 * prod(written), 2 * prod(written)
    for dense in (layer.squeeze, layer.excite):
        yield "dense", prod(dense.kernel.shape), dense.units


def _pooling(window):
    def rule(layer, read, written):
        yield "pooling", prod(written) * window if window else prod(read), prod(written)

    return rule


# The first kind of layer that fits has the rule: (layer, shape read, shape written), to (kind, operations, activations).
RULES = {
    Conv2D: _convolution,
    keras.layers.Dense: _dense,
    Norm: _norm,
    Activation: _activation,
    ResidualBlock: _block,
    SqueezeExcite: _squeeze_excite,
    CBAM: _cbam,
    AveragePool2x2: _pooling(4),
    MaxPool3x3: _pooling(9),
    keras.layers.GlobalAveragePooling2D: _pooling(None),
    keras.layers.GlobalMaxPooling2D: _pooling(None),
    # What costs nothing by the convention above.
    keras.layers.InputLayer: None,
    keras.layers.Concatenate: None,
    PadChannels: None,
    StochasticDepth: None,
}
