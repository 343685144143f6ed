"""Shattered gradients (Balduzzi et al. 2017): how fast a network's gradient changes from image to image and pixel to pixel.

Gradients are those of the logit of a class by the first feature map, `(N, H, W, C)`, of a network at inference.
"""

import numpy as np
from keras import ops

from lab.explanations.gradients import features_and_gradients


def gradients_of(model, images, classes):
    """Return the gradient of each image's logit of its class by the first convolution's output, `(N, H, W, C)`."""
    _, (gradients,) = features_and_gradients(model, images, classes, [model.get_layer("stem_conv")])
    return ops.convert_to_numpy(gradients)


def along_a_line(model, first, last, label, points=64):
    """Return the gradients at images `(H, W, C)` evenly spaced between two, `(points, values)`."""
    shares = np.linspace(0.0, 1.0, points, dtype="float32")[:, None, None, None]
    images = np.asarray(first)[None] * (1 - shares) + np.asarray(last)[None] * shares
    return gradients_of(model, ops.convert_to_tensor(images), np.full(points, label)).reshape(points, -1)


def autocorrelation(gradients):
    """Return the correlation of gradients `(points, values)` with those 0, 1, 2, ... points on (Balduzzi et al., section 2.1).

    1 at distance 0. White noise has about zero at every other distance. Half of the distances are returned: of larger ones there
    are few pairs.
    """
    centred = gradients - gradients.mean(0)
    products = centred @ centred.T
    variance = np.trace(products) / len(products)
    return np.array([np.diag(products, lag).mean() / variance for lag in range(len(products) // 2)])


def between_pixels(gradients):
    """Return the correlation of gradients `(N, H, W, C)` with those 0, 1, 2, ... pixels to the right."""
    width = gradients.shape[2]
    means = [(gradients[:, :, : width - step] * gradients[:, :, step:]).mean() for step in range(width // 2)]
    return np.array(means) / means[0]
