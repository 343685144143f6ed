"""TensorFlow's operations for the layers. In `models/`, only this file imports tensorflow."""

import tensorflow as tf
from keras import ops

from models.dense_groups import convolve_densely


def convolve(x, kernel, stride, padding):
    """Convolution of x `(N, H, W, C)` with a kernel `(h, w, C / groups, F)`; padding is "same" or "valid"."""

    def dense(x, kernel):
        return ops.conv(x, kernel, strides=stride, padding=padding, data_format="channels_last")

    return dense(x, kernel) if tf.config.list_physical_devices("GPU") else convolve_densely(dense, x, kernel)


def has_batch_norm(x) -> bool:
    """Return whether TensorFlow has the fused operation for a tensor's dtype."""
    return x.dtype in (tf.float32, tf.bfloat16, tf.float16)


def batch_norm(x, gamma, beta, epsilon):
    """Return `x` `(N, H, W, C)` normalised by the batch's statistics, and their mean and biased variance `(C,)`, float32.

    On a CPU it takes a third to a half of the time of the same sums and products as separate operations.
    """
    none = tf.zeros(0)  # the moving statistics, which it reads at inference alone
    y, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=none, variance=none, epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.size(x) // tf.shape(x)[-1], tf.float32)
    return y, mean, unbiased * tf.maximum(count - 1.0, 1.0) / count
