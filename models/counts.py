"""Parameters and multiply-accumulates of an architecture, from its description: no layer is built, no library imported.

`models.costs` counts those of a built network, by kind of layer and with its other operations.
"""

from itertools import pairwise

# Weights of a norm for each channel, moving statistics among them.
NORM_WEIGHTS = {"batch": 4, "batch-scratch": 4, "instance": 2, "batch-instance": 5, "layer": 2, "group": 2, "none": 1}
SQUEEZE = 16  # channels that attention squeezes into one


def count(architecture, image_size, classes, channels=3):
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
        size, channels = _strided(size, block["stride"]), block["filters"]
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
    filters, width, small = block["filters"], block["width"], _strided(size, block["stride"])
    if width is None:
        widths, parts = [channels, filters, filters], [(3, 1, small), (3, 1, small)]
    else:
        widths, parts = [channels, width, width, filters], [(1, 1, size), (3, block["groups"], small), (1, 1, small)]
    for (inputs, outputs), (kernel, groups, written) in zip(pairwise(widths), parts, strict=True):
        yield _convolution(inputs, outputs, kernel, written, groups)
        yield _norm(a, inputs if a.order == "pre" else outputs)
    yield from _attention(a, filters, small)
    if block["shortcut"] in ("projection", "pool"):
        yield _convolution(channels, filters, 1, small)
        yield _norm(a, filters if block["shortcut"] == "pool" or a.order == "post" else 0)
    yield bool(block["drop_rate"]), 0  # the address of stochastic depth's draws


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


def _norm(a, channels):
    if a.norm == "group" and channels % a.norm_groups:
        raise ValueError(f"groups={a.norm_groups} must divide channels={channels}")
    return NORM_WEIGHTS[a.norm] * channels, 0


def _strided(size, stride):
    return -(-size // stride)
