"""Cost of a network for one image, computed from its layers and their shapes: the one counter of parameters and operations.

Convention: a multiply-accumulate (MAC) is one multiplication and one addition, so FLOPs = 2 MACs. Convolutions and dense layers
are counted in MACs as in papers, which do not leave out the zeros of padding. Other layers, which papers usually leave out, are
counted separately, in operations per element. A norm takes 1 (scale and shift), or 3 if its statistics are the image's own. An
activation, an addition or the product with a gate takes 1 for each element that it writes; pooling takes 1 for each element that
it reads. "Activations" are the elements that a layer writes (Dollar et al. 2021, section 3.1, count those of convolutions).
"""

from collections import defaultdict
from dataclasses import dataclass
from math import prod

import keras

from models.attention import CBAM, SqueezeExcite
from models.blocks import ResidualBlock
from models.layers import AveragePool2x2, Conv2D, MaxPool3x3, PadChannels, layers_of
from models.network import Activation
from models.norms import Folded, Norm
from models.stochastic_depth import StochasticDepth

MAC_KINDS = ("convolution", "grouped convolution", "dense")
KINDS = (*MAC_KINDS, "norm", "element-wise", "pooling")


@dataclass
class Cost:
    """Cost of the layers of one kind: weights, MACs (for MAC_KINDS) or operations (for other kinds), and elements written."""

    parameters: int = 0
    operations: int = 0
    activations: int = 0


def costs_of(model):
    """Return {kind: Cost} for one image of the model's input size, with all KINDS in order."""
    return costs_of_layers(layers_of(model))


def costs_of_layers(layers):
    """Return {kind: Cost} of layers that are built, as `costs_of`; those inside others count only where they are among them."""
    totals = defaultdict(Cost, {kind: Cost() for kind in KINDS})
    for layer in layers:
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


def count_elements(variables) -> int:
    """Return the total number of elements in variables."""
    return sum(prod(variable.shape) for variable in variables)


def count_macs(model) -> int:
    """Return the multiply-accumulates of the convolutions and dense layers for one image."""
    costs = costs_of(model)
    return sum(costs[kind].operations for kind in MAC_KINDS)


def _shape_read(layer):
    """Return the input shape that a layer was built for, or that in the graph if the layer has no weights and was not built."""
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
    if layer.is_activated:
        yield "element-wise", prod(read), 0


def _activation(layer, read, written):
    yield "element-wise", prod(written), prod(written)


def _block(block, read, written):
    """Yield the cost of the activations and of the addition; parts are counted as the layers that they are."""
    activated = sum(prod(shape[1:]) for part, _, shape in block.shapes((None, *read)) if part is None)
    added = prod(written) if block.spec.wiring.is_joined else 0
    yield "element-wise", activated + added, activated + added


def _squeeze_excite(layer, read, written):
    """Yield the cost of the channels' means and of the product with the gates. The dense layers are counted as such."""
    yield "pooling", prod(read), read[-1]
    yield "element-wise", prod(written), prod(written)


def _cbam(layer, read, written):
    """Yield the cost of the means and maxima of channels, then of pixels, and of two products.

    The two dense layers run twice. One run is counted as that of dense layers, the other here.
    """
    height, width, channels = read
    yield "pooling", 4 * prod(read), 2 * channels + 2 * height * width
    yield "element-wise", 2 * prod(written), 2 * prod(written)
    for dense in (layer.squeeze, layer.excite):
        yield "dense", prod(dense.kernel.shape), dense.units


def _pooling(window):
    def rule(layer, read, written):
        yield "pooling", prod(written) * window if window else prod(read), prod(written)

    return rule


# A layer has the rule of the first class that fits: (layer, shape read, shape written) -> (kind, operations, activations).
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
    # Layers without cost by the convention above.
    keras.layers.InputLayer: None,
    keras.layers.Concatenate: None,
    PadChannels: None,
    StochasticDepth: None,
}
