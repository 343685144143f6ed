"""Residual networks as ensembles of paths (Veit et al. 2016): blocks in another order, and the gradient by a path's length."""

from math import comb

import keras
import numpy as np
from keras import ops
from scipy import stats

from foundation.errors import UserError
from foundation.randomness import generator
from lab.explanations.gradients import features_and_gradients
from lab.reports.lesion import blocks_of
from lab.training.evaluation import predict


def shuffled(model, swaps, seed=0):
    """Return (the network with `swaps` pairs of blocks exchanged, Kendall's tau of the new order of its blocks).

    Only blocks of one shape change places: those of a stage but the first, which changes the shape. The weights stay the model's.
    """
    blocks = [block for block in blocks_of(model) if tuple(block.input.shape) == tuple(block.output.shape)]
    order, draw = list(blocks), generator(seed, "swaps of blocks")
    for _ in range(swaps):
        first = int(draw.integers(len(blocks)))
        alike = [i for i, block in enumerate(blocks) if block.spec == blocks[first].spec and i != first]
        if alike:
            second = alike[int(draw.integers(len(alike)))]
            order[first], order[second] = order[second], order[first]
    place = {id(block): other for block, other in zip(blocks, order, strict=True)}
    tau, _ = stats.kendalltau(range(len(blocks)), [blocks.index(block) for block in order])
    return model.rebuilt(lambda layer: place.get(id(layer), layer)), float(tau)


def accuracy_when_shuffled(run, swaps, repetitions, images=1000):
    """Return {number of swaps: accuracies in percent on val, one of each repetition}."""
    from lab.reports.pictures import Options

    batches, labels = run.sample(Options(images=images))
    found = {}
    for count in swaps:
        networks = [shuffled(run.model, count, seed)[0] for seed in range(repetitions if count else 1)]
        found[count] = [100 * float((predict(network, batches).argmax(1) == labels).mean()) for network in networks]
    return found


class OneWay(keras.layers.Layer):
    """A residual block with its own value, whose gradient goes one way alone: through the branch, or through the shortcut."""

    def __init__(self, block):
        super().__init__(name=f"{block.name}_one_way", dtype=block.dtype_policy)
        self.block, self.by_branch = block, False

    def call(self, x):
        shortcut = self.block.call_shortcut(x)
        branch = self.block.call(x) - shortcut
        return branch + ops.stop_gradient(shortcut) if self.by_branch else ops.stop_gradient(branch) + shortcut

    def compute_output_shape(self, input_shape):
        return self.block.compute_output_shape(input_shape)


class Paths:
    """The paths from a network's first feature map to the logits of images' classes, through or past each of its blocks.

    Raises UserError for blocks whose activation follows the addition: there branch and shortcut can't be parted.
    """

    def __init__(self, model, images, classes):
        blocks = blocks_of(model)
        if any(block.spec.order != "pre" or not block.spec.wiring.is_joined for block in blocks):
            raise UserError(f"{model.name} is not of pre-activation blocks with skip connections, such as preresnet20")
        self.images, self.classes, self.ways = images, classes, [OneWay(block) for block in blocks]
        places = {id(block): way for block, way in zip(blocks, self.ways, strict=True)}
        self.network = model.rebuilt(lambda layer: places.get(id(layer), layer))

    def gradient(self, chosen):
        """Return the gradient `(N, H, W, C)` by the path through the branches of the blocks with these numbers."""
        for number, way in enumerate(self.ways):
            way.by_branch = number in chosen
        first = [self.network.get_layer("stem_conv")]
        _, (gradients,) = features_and_gradients(self.network, self.images, self.classes, first)
        return ops.convert_to_numpy(gradients)


def gradient_by_length(model, images, classes, samples=8, seed=0):
    """Return the gradient norm at the first feature map that comes by one path of each length, 0 to all blocks, `(blocks + 1,)`.

    The length of a path counts the branches on it. Each value is the mean over `samples` paths that the seed draws (Veit et al.,
    section 4.2). Raises UserError as `Paths` does.
    """
    paths = Paths(model, images, classes)
    blocks, norms = len(paths.ways), []
    for length in range(blocks + 1):
        drawn = (generator(seed, "paths", length, sample).permutation(blocks)[:length] for sample in range(samples))
        norms.append(np.mean([np.linalg.norm(paths.gradient(chosen)) for chosen in drawn]))
    return np.array(norms)


def share_of_lengths(norms):
    """Return (share of all paths, share of the gradient) of each length, from the norm of the gradient by one path of it."""
    blocks = len(norms) - 1
    paths = np.array([comb(blocks, length) for length in range(blocks + 1)], float)
    return paths / paths.sum(), paths * norms / (paths * norms).sum()
