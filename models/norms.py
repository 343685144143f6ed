"""Normalisation layers behind one name each. All take and return `(N, H, W, C)` and keep statistics in float32."""

import keras
from keras import ops

from models.layers import FUSED, register

if FUSED:
    from models import torch_ops


class Norm(keras.layers.Layer):
    """What every norm has: a constant epsilon under the root, and the momentum of moving statistics, where it keeps any.

    Momentum is Keras': the share of the old value that stays (PyTorch's is one minus it).
    """

    def __init__(self, epsilon=1e-5, momentum=0.9, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.momentum = momentum

    def add_channel_weight(self, name, channels, initializer, trainable=True):
        """A float32 weight `(C,)`, also under mixed precision."""
        return self.add_weight(name=name, shape=(channels,), initializer=initializer, trainable=trainable, autocast=False)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"epsilon": self.epsilon, "momentum": self.momentum}


@register
class BatchNorm(Norm):
    """Batch normalisation (Ioffe & Szegedy 2015, algorithm 1): statistics per channel over N, H and W.

    `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`. Learns gamma and beta `(C,)`. While training, mean and
    (biased) variance are the batch's, and the moving ones follow: `moving = momentum * moving + (1 - momentum) * batch`;
    at inference the moving ones serve.
    """

    def build(self, input_shape):
        channels = input_shape[-1]
        self.gamma = self.add_channel_weight("gamma", channels, "ones")
        self.beta = self.add_channel_weight("beta", channels, "zeros")
        self.moving_mean = self.add_channel_weight("moving_mean", channels, "zeros", trainable=False)
        self.moving_variance = self.add_channel_weight("moving_variance", channels, "ones", trainable=False)

    def call(self, x, training=False):
        if FUSED:
            weights = (w.value for w in (self.gamma, self.beta, self.moving_mean, self.moving_variance))
            return torch_ops.batch_norm(x, *weights, bool(training), self.momentum, self.epsilon)
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance = ops.moments(ops.cast(x, "float32"), axes=(0, 1, 2))
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        y = ops.cast(x, "float32") * scale + (self.beta - mean * scale)
        return ops.cast(y, x.dtype)


@register
class NoNorm(Norm):
    """No statistics: only the shift beta `(C,)` that convolutions without bias leave to their norm."""

    def build(self, input_shape):
        self.beta = self.add_channel_weight("beta", input_shape[-1], "zeros")

    def call(self, x, training=False):
        return x + ops.cast(self.beta, x.dtype)


NORMS = {"batch": BatchNorm, "none": NoNorm}
