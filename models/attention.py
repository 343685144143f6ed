"""Attention inside a residual branch: layers that rescale a feature map, behind one name each."""

import keras
from keras import ops

from models.layers import Conv2D, register, spatial_mean


class Attention(keras.layers.Layer):
    """A layer with a gate per channel that two dense layers without bias compute, the first to C / ratio units with ReLU."""

    def __init__(self, ratio=16, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, input_shape):
        channels = input_shape[-1]
        squeezed = max(channels // self.ratio, 1)
        self.squeeze = self._dense("squeeze", squeezed, "relu", channels)
        self.excite = self._dense("excite", channels, None, squeezed)

    @property
    def parts(self):
        """{name: layer} of the layers inside."""
        return {layer.name: layer for layer in (self.squeeze, self.excite)}

    def _dense(self, name, units, activation, inputs):
        layer = keras.layers.Dense(
            units,
            activation=activation,
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
            name=name,
        )
        layer.build((None, inputs))
        return layer

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"ratio": self.ratio}


@register
class SqueezeExcite(Attention):
    """Squeeze-and-excitation (Hu et al. 2018, section 3): every channel is scaled by a gate computed from all channels' means.

    `x * sigmoid(W2 relu(W1 mean(x)))` with W1 `(C, C // ratio)` and W2 `(C // ratio, C)`.
    """

    def call(self, x):
        return x * ops.sigmoid(self.excite(self.squeeze(spatial_mean(x))))[:, None, None, :]


@register
class CBAM(Attention):
    """Convolutional block attention (Woo et al. 2018, eq. 2 and 3): a gate per channel, then one per pixel.

    The channel gate is `sigmoid(mlp(mean(x)) + mlp(max(x)))` over H and W with one shared mlp, the pixel gate a 7x7
    convolution over mean and maximum of the channels, then sigmoid.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.locate = Conv2D(1, 7, name="locate", dtype=self.dtype_policy)
        self.locate.build((*input_shape[:-1], 2))

    @property
    def parts(self):
        return super().parts | {self.locate.name: self.locate}

    def call(self, x):
        mlp = (self.excite(self.squeeze(features)) for features in (spatial_mean(x), ops.max(x, axis=(1, 2))))
        x = x * ops.sigmoid(sum(mlp))[:, None, None, :]
        pixels = ops.concatenate([ops.mean(x, axis=3, keepdims=True), ops.max(x, axis=3, keepdims=True)], axis=3)
        return x * ops.sigmoid(self.locate.call(pixels))


ATTENTIONS = {"none": None, "se": SqueezeExcite, "cbam": CBAM}
