"""A norm at inference, whose moving statistics are constants, is part of the convolution before it.

    norm(conv(x)) = scale * (kernel * x) + shift = (scale * kernel) * x + shift        per channel of the output

So the network loses an operation and a pass over the images for every norm that directly follows a convolution and is its only
reader. That is every norm of a post-activation network; in a pre-activation one, those between a block's convolutions and those
of its shortcut, but not the first of a block nor the last of the network, which follow an addition.
"""

from collections import Counter

from models.blocks import ResidualBlock
from models.layers import Conv2D
from models.norms import Folded, Norm


def fold_norms(model):
    """Return the same function at inference, of the same layers, with norms folded into convolutions where that is exact.

    The given network stays as it is. Norms whose statistics are the image's own stay too. The result can't be trained: where a
    norm was, there is none.
    """
    stem = dict(_stem_pairs(model))
    followed, folded_away = {id(conv) for conv in stem}, {id(norm) for norm in stem.values()}

    def without_norm(layer):
        config = layer.get_config()
        if isinstance(layer, ResidualBlock):
            return ResidualBlock.from_config(config | {"folded": True})
        if id(layer) in followed:
            return Conv2D.from_config(config | {"use_bias": True})
        return Folded(name=layer.name) if id(layer) in folded_away else type(layer).from_config(config)

    folded = model.rebuilt(without_norm)
    pairs = [*stem.items(), *(pair for layer in model.layers if isinstance(layer, ResidualBlock) for pair in layer.norm_pairs())]
    _copy_weights(model, folded, pairs)
    return folded


def _stem_pairs(model):
    """Yield (convolution, the foldable norm that alone reads it) of the layers outside the blocks."""
    readers = Counter(number for call in model.calls for number in call.reads)
    for norm, reads in ((call.layer, call.reads) for call in model.calls):
        if isinstance(norm, Norm) and norm.is_foldable and reads[0] > 0 and readers[reads[0]] == 1:
            before = model.calls[reads[0] - 1].layer
            if isinstance(before, Conv2D):
                yield before, norm


def _copy_weights(model, folded, pairs):
    values = {variable.path: variable.value for variable in model.variables}
    for conv, norm in pairs:
        scale, shift = norm.constants()
        values[conv.kernel.path] = conv.kernel * scale
        values[conv.kernel.path.removesuffix("kernel") + "bias"] = shift
    for variable in folded.variables:
        variable.assign(values[variable.path])
