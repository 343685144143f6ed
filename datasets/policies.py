"""The richer augmentation policies, served by keras-cv, which computes them by TensorFlow on every backend.

Importing this takes seconds and TensorFlow: it is imported where a setting asks for a policy, not at start-up.
"""

import keras_cv
import numpy as np
import tensorflow as tf
from keras import ops

from foundation.randomness import generator

POLICIES = {
    "randaugment": lambda: keras_cv.layers.RandAugment((0, 255), augmentations_per_image=2, magnitude=0.3, dtype="float32"),
    "cutout": lambda: keras_cv.layers.RandomCutout(height_factor=0.5, width_factor=0.5, dtype="float32"),
    "gridmask": lambda: keras_cv.layers.GridMask(ratio_factor=(0.0, 0.5), dtype="float32"),
    "saturation": lambda: keras_cv.layers.RandomSaturation(factor=(0.3, 0.7), dtype="float32"),
}


class Policy:
    """A policy of keras-cv on batches `(N, H, W, 3)` of pixels from 0 to 255, a function of (seed, epoch, step).

    Takes tensors or arrays and returns arrays of numpy, float32.
    """

    def __init__(self, name):
        tf.random.set_global_generator(tf.random.Generator.from_seed(0))  # determinism wants it named before it is used
        self.layer = POLICIES[name]()

    def __call__(self, images, seed, epoch, step):
        address = int(generator(seed, "policy", epoch, step).integers(2**31))
        # keras-cv draws from TensorFlow's global generator and its global seed, on every backend.
        tf.random.set_seed(address)
        tf.random.get_global_generator().reset_from_seed(address)
        pixels = tf.constant(np.asarray(ops.convert_to_numpy(images), "float32"))
        return np.clip(np.asarray(self.layer(pixels, training=True)), 0.0, 255.0)
