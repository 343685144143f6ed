"""Quality measures of maps: do they find the object, is it needed, and do they depend on what was learned?"""

import re
from dataclasses import replace

import numpy as np
from scipy import ndimage, stats

from datasets.dataset import Split
from lab.training.fitting import build

STEPS = 11  # number of shares of pixels, from none to all, at which deletion and insertion are measured


def pointing_game(maps, boxes):
    """Return whether each map's largest value lies in the object's box, `(N,)`.

    This is the pointing game without tolerance (Zhang et al. 2018, section 4.2). Maps `(N, H, W)` and boxes have the size of the
    images. A map of zeros counts as a miss.
    """
    y, x = np.unravel_index(maps.reshape(len(maps), -1).argmax(1), maps.shape[1:])
    left, top, right, bottom = boxes.T
    return (left <= x) & (x < right) & (top <= y) & (y < bottom) & (maps.max((1, 2)) > 0)


def energy_inside(maps, boxes):
    """Return the share of each map's sum that lies in the box (Wang et al. 2020, section 4.3), `(N,)`; 0 for a map of zeros."""
    inside = [m[top:bottom, left:right].sum() for m, (left, top, right, bottom) in zip(maps, boxes, strict=True)]
    return np.array(inside) / np.maximum(maps.sum((1, 2)), 1e-12)


def box_shares(boxes, side):
    """Return the share of each image that its box covers. By chance, both measures above have this value."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / side**2


def deletion_and_insertion(network, images, classes, maps):
    """Return the probability of the class while pixels go, or come, in the map's order (Petsiuk et al. 2018, section 3.3).

    The result holds two arrays `(N, STEPS)`. Deletion replaces the most important pixels by the data set's mean colour;
    insertion puts them back into a blurred image. `images` are uint8 `(N, H, W, C)`.
    """
    side, mean = images.shape[1], np.uint8(np.round(255.0 * network.dataset.mean))
    blurred = ndimage.gaussian_filter(images, (0, side / 16, side / 16, 0))
    order = np.argsort(-maps.reshape(len(maps), -1), axis=1, kind="stable")
    ranks = np.argsort(order, axis=1).reshape(len(maps), side, side, 1)
    curves = np.empty((2, len(images), STEPS))
    for step, share in enumerate(np.linspace(0.0, 1.0, STEPS)):
        chosen = ranks < round(share * side**2)
        for curve, changed in zip(curves, (np.where(chosen, mean, images), np.where(chosen, images, blurred)), strict=True):
            curve[:, step] = network.probabilities(Split(changed, classes))[np.arange(len(images)), classes]
    return curves


def area(curve):
    """Return the area under a curve over shares from 0 to 1, along its last axis."""
    return np.trapezoid(curve, dx=1.0 / (STEPS - 1), axis=-1)


def randomised(network):
    """Yield (part, network), from the classifier down to the stem: the network has random weights in all parts so far.

    The method is that of Adebayo et al. 2018. Random weights are those that a training of the next seed would start from.
    """
    model = build(replace(network.config, seed=network.config.seed + 1), network.dataset)
    initial = [np.array(variable) for variable in model.variables]
    for variable, trained in zip(model.variables, network.model.variables, strict=True):
        variable.assign(trained)
    parts = ["stem" if variable.path.startswith("stem") else re.split("[/_]", variable.path)[0] for variable in model.variables]
    for part in reversed(list(dict.fromkeys(parts))):
        for variable, value, own in zip(model.variables, initial, parts, strict=True):
            if own == part:
                variable.assign(value)
        yield part, replace(network, model=model)


def likeness(maps, others):
    """Return Spearman's rank correlation of each map with another, `(N,)`; 0 if one of them is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ranks = [stats.rankdata(m.reshape(len(m), -1), axis=1) for m in (maps, others)]
        one, other = (rank - rank.mean(1, keepdims=True) for rank in ranks)
        return np.nan_to_num((one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1)))
