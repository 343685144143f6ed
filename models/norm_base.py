"""Base classes of norms: of all, and of those from scratch. `models.norms` has the norms themselves.

Those from scratch start from the mean and variance of every image and channel, `(N, C)`. A norm is then a rule for pooling
them: over images, over channels, over groups of channels, or not at all. With any pooling,

    mean = pool(means),  variance = pool(variances + (means - mean)^2)

are those of the union (the law of total variance), and `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`.
"""

import keras
from keras import ops

from models.layers import FUSED, register

if FUSED:
    from models import torch_norms, torch_ops

NORMS = {}  # the layer of each name in `foundation.norm_table`


def norm(name):
    """Enter a norm, the class below, into NORMS."""

    def enter(layer):
        NORMS[name] = register(layer)
        return layer

    return enter


class Norm(keras.layers.Layer):
    """Base of all norms: a constant epsilon under the root, and the momentum of moving statistics if it keeps them.

    Momentum is Keras': the share of the old value that stays (PyTorch's is one minus it).
    """

    is_activated = False  # it applies an activation of its own, and none follows
    is_foldable = False  # at inference one scale and shift per channel serve every image: see `models.folding`

    def __init__(self, epsilon=1e-5, momentum=0.9, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.momentum = self.own_momentum = momentum

    def build(self, input_shape):
        channels = input_shape[-1]
        self.gamma = self.add_channel_weight("gamma", channels, "ones")
        self.beta = self.add_channel_weight("beta", channels, "zeros")

    def add_channel_weight(self, name, channels, initializer, **options):
        """Add a float32 weight `(C,)`, also under mixed precision."""
        return self.add_weight(name=name, shape=(channels,), initializer=initializer, autocast=False, **options)

    def add_moving_statistics(self, channels):
        self.moving_mean = self.add_channel_weight("moving_mean", channels, "zeros", trainable=False)
        self.moving_variance = self.add_channel_weight("moving_variance", channels, "ones", trainable=False)

    def follow(self, mean, variance):
        """Move the moving statistics towards those of a batch: `moving = momentum * moving + (1 - momentum) * batch`."""
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            if FUSED:
                torch_norms.follow(moving.value, batch, self.momentum)
            else:
                moving.assign(moving * self.momentum + ops.stop_gradient(batch) * (1.0 - self.momentum))

    def take_momentum(self, least=0.0):
        """Give moving statistics at least this momentum, or the norm's own if it is larger; before the first step is traced."""
        self.momentum = max(self.own_momentum, least)

    def is_learning(self, training):
        """Return whether the norm uses the batch's statistics and updates the moving ones: in training, unless it is frozen."""
        return bool(training) and self.trainable

    def constants(self):
        """Return (scale, shift) `(C,)` for every image at inference; only foldable norms have them."""
        return scale_and_shift(self.moving_mean, self.moving_variance, self.gamma, self.beta, self.epsilon)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"epsilon": self.epsilon, "momentum": self.own_momentum}


class NormFromScratch(Norm):
    """A norm defined by its pooling rule; the same in training and at inference."""

    def pool(self, values):
        """Return the mean of `values` `(N, C)` over those that share statistics, in a shape that broadcasts to `(N, C)`."""
        raise NotImplementedError

    def pooled(self, means, variances):
        mean = self.pool(means)
        return mean, self.pool(variances + ops.square(means - mean))

    def call(self, x, training=False):
        return normalize(x, self.solve, [self.gamma, self.beta])

    def solve(self, means, variances, gamma, beta):
        """Return scale and shift of every image and channel from its mean and variance."""
        return scale_and_shift(*self.pooled(means, variances), gamma, beta, self.epsilon)


def scale_and_shift(mean, variance, gamma, beta, epsilon):
    """Return (scale, shift) with `x * scale + shift = gamma * (x - mean) / sqrt(variance + epsilon) + beta`."""
    scale = gamma * ops.rsqrt(ops.convert_to_tensor(variance) + epsilon)  # adding to a variable would copy epsilon to the device
    return scale, beta - mean * scale


def normalize(x, solve, parameters):
    """Return `x * scale + shift`, both from `solve(means, variances, *parameters)` on every image's statistics `(N, C)`."""
    if FUSED and not torch_ops.is_traced():
        return torch_norms.normalize(x, solve, [parameter.value for parameter in parameters])
    scale, shift = solve(*image_moments(ops.cast(x, "float32")), *parameters)
    return transform(x, scale[:, None, None, :], shift[:, None, None, :])


def image_moments(x):
    """Return mean and variance `(N, C)` of every image and channel of float32 images."""
    means = ops.mean(x, axis=(1, 2), keepdims=True)
    variances = ops.mean(ops.square(x - means), axis=(1, 2))
    return ops.squeeze(means, axis=(1, 2)), variances


def transform(x, scale, shift):
    """Return `x * scale + shift`, computed in float32, in the dtype of x."""
    return ops.cast(ops.cast(x, "float32") * scale + shift, x.dtype)
