"""Parameters and multiply-accumulates of an architecture, from its description: no layer is built, no library imported.

`models.costs` counts those of a built network, by kind of layer and with its other operations.
"""

from foundation.norm_table import NORM_TABLE

SQUEEZE = 16  # channels that attention squeezes into one


def count(architecture, image_size, classes, channels=3) -> tuple[int, int]:
    """Return (parameters, MACs for one square image) of an architecture."""
    parameters, macs = zip(*_layers(architecture, image_size, classes, channels), strict=True)
    return sum(parameters), sum(macs)


def _layers(a, size, classes, channels):
    """Yield (parameters, MACs) of every layer with weights, from the images to the logits."""
    parts, is_pooled = _stem(a, channels)
    for inputs, filters, kernel, stride in parts:
        size = _strided(size, stride)
        yield _convolution(inputs, filters, kernel, size)
        yield _norm(a, filters if a.stem != "conv" else 0)
    size, channels = _strided(size, 2 if is_pooled else 1), a.stem_filters
    for _, _, block in a.residual_blocks():
        yield from _block(a, block, channels, size)
        size, channels = _strided(size, block.stride), block.filters
    yield _norm(a, channels if a.order == "pre" else 0)
    features = channels * (2 if a.head == "average+max" else 1)
    yield (features + 1) * classes, features * classes


def _stem(a, channels):
    """Return the stem's convolutions as (inputs, filters, kernel size, stride), and whether pooling halves their result."""
    if a.stem == "imagenet":
        return [(channels, a.stem_filters, 7, 2)], True
    if a.stem == "deep":
        half = a.stem_filters // 2
        return [(channels, half, 3, 2), (half, half, 3, 1), (half, a.stem_filters, 3, 1)], True
    return [(channels, a.stem_filters, 3, 1)], False


def _block(a, block, channels, size):
    inputs, written = channels, size
    for i, conv in enumerate(block.convolutions, start=1):
        written = _strided(written, conv.stride)
        yield _convolution(inputs, conv.filters, conv.size, written, conv.groups)
        yield _norm(a, inputs if a.order == "pre" else conv.filters, f"norm{i}" in block.activated_norms)
        inputs = conv.filters
    yield from _attention(a, block.filters, written)
    if "shortcut_conv" in block.shortcut_parts:
        yield _convolution(channels, block.filters, 1, written)
        yield _norm(a, block.filters if "shortcut_norm" in block.shortcut_parts else 0, False)
    yield bool(block.drop_rate), 0  # the address of stochastic depth's draws


def _attention(a, channels, size):
    dense = 2 * channels * max(channels // SQUEEZE, 1)
    if a.attention == "se":
        yield dense, dense
    elif a.attention == "cbam":
        yield dense, 2 * dense  # of the means and of the maxima
        yield _convolution(2, 1, 7, size)


def _convolution(inputs, filters, kernel, size, groups=1):
    """Return the numbers of a convolution that writes images of this size."""
    if inputs % groups or filters % groups:
        raise ValueError(f"groups={groups} must divide both channels={inputs} and filters={filters}")
    weights = kernel * kernel * (inputs // groups) * filters
    return weights, weights * size * size


def _norm(a, channels, is_activated=True):
    row = NORM_TABLE[a.norm]
    if row.has_groups and channels % a.norm_groups:
        raise ValueError(f"groups={a.norm_groups} must divide channels={channels}")
    return (row.weights + (row.activation_weights if is_activated else 0)) * channels, 0


def _strided(size, stride):
    return -(-size // stride)
