"""Class activation maps: where in an image the evidence for a class is. One formula, four ways to weigh it.

    map = relu(sum over channels of weights * features)

The weights come from the features A and the gradient G of the class's logit by them, both `(N, H, W, C)`.
"""

import numpy as np
from keras import ops

from lab.explanations.gradients import features_and_gradients


def _grad_cam(A, G):
    """Selvaraju et al. 2017, eq. 1: one weight a channel, the mean gradient."""
    return ops.mean(G, axis=(1, 2), keepdims=True)


def _grad_cam_plus_plus(A, G):
    """Chattopadhay et al. 2018, eq. 19 (the factor exp(logit) of an image cancels where maps are scaled)."""
    share = 2.0 * G**2 + ops.sum(A, axis=(1, 2), keepdims=True) * G**3
    return ops.sum(ops.relu(G) * G**2 / ops.where(share == 0.0, 1.0, share), axis=(1, 2), keepdims=True)


METHODS = {
    "grad-cam": _grad_cam,
    "grad-cam++": _grad_cam_plus_plus,
    "hirescam": lambda A, G: G,  # Draelos & Carin 2020, eq. 4: every place by its own gradient
    "layercam": lambda A, G: ops.relu(G),  # Jiang et al. 2021, eq. 5: by what of it is positive
}


def class_maps(model, images, classes, layers, method, is_symmetric=True):
    """Return maps of normalised images `(N, H, W, C)` towards their classes `(N,)`: `(N, h, w)` float32, each with maximum 1.

    A layer's map has the layer's resolution. Those of several layers are brought to the finest one (see `enlarged` for
    `is_symmetric`) and averaged, each scaled before, so that every layer counts the same. An image without evidence for its
    class has a map of zeros.
    """
    pairs = zip(*features_and_gradients(model, images, classes, layers), strict=True)
    maps = [ops.convert_to_numpy(ops.relu(ops.sum(METHODS[method](A, G) * A, axis=-1))) for A, G in pairs]
    finest = max(layer_maps.shape[1] for layer_maps in maps)
    return _scaled(sum(enlarged(_scaled(layer_maps), finest, is_symmetric) for layer_maps in maps))


def enlarged(maps, side, is_symmetric):
    """Return maps `(N, h, h)` as `(N, side, side)`, bilinear, every value at the middle of what its feature looked at.

    The stride s between the two is the power of two with h = ceil(side / s), since networks halve; s * h may be above `side`.
    With symmetric padding the feature j of a layer of stride s has its middle at pixel s * j, which is half a stride away
    from the middle of the pixels s * j to s * (j + 1) - 1: 16 pixels in an image of 224. Otherwise it is taken to be there.
    """
    length = maps.shape[1]
    stride = 2.0 ** np.ceil(np.log2(side / length))
    places = np.arange(side) / stride if is_symmetric else (np.arange(side) + 0.5) / stride - 0.5
    weights = np.maximum(1.0 - np.abs(np.clip(places, 0, length - 1)[:, None] - np.arange(length)), 0.0).astype("float32")
    return weights @ maps @ weights.T


def _scaled(maps):
    largest = maps.max((1, 2), keepdims=True)
    return maps / np.where(largest == 0.0, 1.0, largest)
