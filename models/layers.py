"""The layers every network here is built of. On torch they run on fused operations, elsewhere mostly on plain Keras ones.

`FUSED` and `FUSES_BATCH_NORM` are the only questions this folder asks about the backend; weights and results are the same.
"""

import random

import keras
import numpy as np
from keras import ops

from foundation import (
    backend,
    keras_defaults,  # noqa: F401  no keras.json is obeyed
)
from models.initialize import he_normal

FUSED = backend.name() == "torch"
FUSES_BATCH_NORM = backend.name() == "tensorflow"
if FUSED:
    from models import torch_ops
elif FUSES_BATCH_NORM:
    from models import tensorflow_ops as backend_ops
else:
    from models import jax_ops as backend_ops

register = keras.saving.register_keras_serializable("reslab")


def drawn_kernel(shape, dtype=None):
    """Return a he-normal kernel, drawn by NumPy: JAX would compile Keras' draw anew for every shape, half a second each."""
    return ops.convert_to_tensor(he_normal(shape, np.random.default_rng(random.getrandbits(64))), dtype)


@register
class Conv2D(keras.layers.Layer):
    """Convolution, he-normal kernel `(size, size, C / groups, filters)`; no bias, unless a norm was folded into it.

    Input `(N, H, W, C)`, output `(N, ceil(H / stride), ceil(W / stride), filters)`. Padding is "same", Keras' (with a stride
    the odd row and column go to the far side), or "symmetric", PyTorch's `size // 2` on all sides, for odd sizes; without a
    stride they are the same. Computes in its input's dtype. Raises ValueError unless `groups` divides C and `filters`.
    """

    def __init__(self, filters, size, stride=1, groups=1, padding="same", use_bias=False, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.size = size
        self.stride = stride
        self.groups = groups
        self.padding = padding
        self.use_bias = use_bias

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels % self.groups or self.filters % self.groups:
            raise ValueError(f"groups={self.groups} must divide both channels={channels} and filters={self.filters}")
        shape = (self.size, self.size, channels // self.groups, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=drawn_kernel, autocast=False)
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros", autocast=False)

    def call(self, x):
        return self.call_beside(x)[0]

    def call_beside(self, x):
        """Return the result and x for a shortcut around this layer, which on a GPU costs no addition of gradients."""
        if FUSED:
            bias = None if self.bias is None else self.bias.value
            return torch_ops.conv2d_beside(x, self.kernel.value, bias, self.stride, self.groups, self.padding)
        return self._convolve(x), x

    def _convolve(self, x):
        padding = "same"
        if self.padding == "symmetric" and self.stride > 1:
            around = (self.size // 2, self.size // 2)
            x, padding = ops.pad(x, ((0, 0), around, around, (0, 0))), "valid"
        y = backend_ops.convolve(x, ops.cast(self.kernel, x.dtype), self.stride, padding)
        return y + ops.cast(self.bias, y.dtype) if self.use_bias else y

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return batch, -(-height // self.stride), -(-width // self.stride), self.filters

    def get_config(self):
        own = {name: getattr(self, name) for name in ("filters", "size", "stride", "groups", "padding", "use_bias")}
        return super().get_config() | own


@register
class AveragePool2x2(keras.layers.Layer):
    """Mean over 2x2 windows, `same` padding that does not count: `(N, H, W, C)` to `(N, ceil(H / s), ceil(W / s), C)`."""

    def __init__(self, stride=2, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, x):
        if FUSED:
            return torch_ops.average_pool_2x2(x, self.stride)
        # Padding with the last line leaves the means right; with padding="same", XLA's mean of one pixel may be four times it.
        bottom, right = (1 if self.stride == 1 else size % 2 for size in x.shape[1:3])
        x = ops.pad(x, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="symmetric")
        return ops.average_pool(x, 2, strides=self.stride, padding="valid", data_format="channels_last")

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, -(-height // self.stride), -(-width // self.stride), channels

    def get_config(self):
        return super().get_config() | {"stride": self.stride}


@register
class MaxPool3x3(keras.layers.Layer):
    """Maximum of 3x3 windows with stride 2, padded on all sides: `(N, H, W, C)` to `(N, ceil(H / 2), ceil(W / 2), C)`."""

    def call(self, x):
        if FUSED:
            return torch_ops.max_pool_3x3(x)
        # Not zeros: an activation that is negative everywhere would lose against them.
        x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=float("-inf"))
        return ops.max_pool(x, 3, strides=2, padding="valid", data_format="channels_last")

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, -(-height // 2), -(-width // 2), channels


@register
class PadChannels(keras.layers.Layer):
    """Every stride-th pixel, and zeros in new channels: `(N, H, W, C)` to `(N, ceil(H / s), ceil(W / s), filters)`."""

    def __init__(self, filters, stride=2, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.stride = stride

    def call(self, x):
        x = x[:, :: self.stride, :: self.stride]
        return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.filters - x.shape[-1])))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return batch, -(-height // self.stride), -(-width // self.stride), self.filters

    def get_config(self):
        return super().get_config() | {"filters": self.filters, "stride": self.stride}


def layers_of(model):
    """Yield every layer of a model, each followed by those inside it, which it names in `parts`."""
    for layer in model.layers:
        yield from with_parts(layer)


def with_parts(layer):
    """Yield a layer, followed by those inside it, and those inside these."""
    yield layer
    for part in getattr(layer, "parts", {}).values():
        yield from with_parts(part)


def spatial_mean(x):
    """Global average: `(N, H, W, C)` to `(N, C)`."""
    return torch_ops.spatial_mean(x) if FUSED else ops.mean(x, axis=(1, 2))


ACTIVATIONS = ("relu", "mish", "silu", "gelu")


def activate(name, x):
    """Apply the activation of that name, one of ACTIVATIONS."""
    return torch_ops.ACTIVATIONS[name](x) if FUSED else getattr(keras.activations, name)(x)
