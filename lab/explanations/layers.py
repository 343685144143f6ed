"""Which layers of a network a map is taken of."""

from foundation.errors import unknown
from models.blocks import ResidualBlock
from models.network import stage_of

LAST_STAGE = "last-stage"


def layers_by_name(model):
    """Return {name: layer} of everything with a feature map `(N, H, W, C)`, in order: `stem_conv`, `stage1_block1/conv1`, ..."""
    found = {}
    for layer in model.layers[1:]:  # the first is the images
        if isinstance(layer, ResidualBlock):
            found |= {f"{layer.name}/{conv.name}": conv for conv in layer.convs}
        if len(layer.output.shape) == 4:
            found[layer.name] = layer
    return found


def choose_layers(model, names=None):
    """Return the layers of these names, each once; None: what the global pooling reads. Raises UserError for an unknown one.

    "last-stage" are the convolutions of the last stage's residual branches: 2n of a network of 6n + 2 layers.
    """
    known = layers_by_name(model)
    if names is None:
        return [list(known.values())[-1]]
    chosen = []
    for name in names:
        if name != LAST_STAGE and name not in known:
            raise unknown("layer", name, [LAST_STAGE, *known], f"{LAST_STAGE}, or such as {', '.join(list(known)[-3:])}")
        chosen += _last_stage(known) if name == LAST_STAGE else [known[name]]
    return list(dict.fromkeys(chosen))


def _last_stage(known):
    last = max(stage_of(name) or 0 for name in known)
    return [layer for name, layer in known.items() if stage_of(name) == last and "/" in name]
