"""Attention inside a residual branch: layers that rescale a feature map, behind one name each."""

import keras

from models.layers import register, spatial_mean


@register
class SqueezeExcite(keras.layers.Layer):
    """Squeeze-and-excitation (Hu et al. 2018, section 3): every channel is scaled by a gate computed from all channels' means.

    `x * sigmoid(W2 relu(W1 mean(x)))` with W1 `(C, C // ratio)` and W2 `(C // ratio, C)`, no biases.
    """

    def __init__(self, ratio=16, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, input_shape):
        channels = input_shape[-1]
        squeezed = max(channels // self.ratio, 1)
        self.squeeze = self._dense("squeeze", squeezed, "relu", channels)
        self.excite = self._dense("excite", channels, "sigmoid", squeezed)

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

    def call(self, x):
        gates = self.excite(self.squeeze(spatial_mean(x)))
        return x * gates[:, None, None, :]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"ratio": self.ratio}


ATTENTIONS = {"none": None, "se": SqueezeExcite}
