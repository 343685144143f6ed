"""From an architecture, which is data, to a Keras model."""

import keras

from models.architecture import Architecture
from models.blocks import ResidualBlock
from models.layers import Conv2D, activate, register
from models.norms import NORMS


@register
class Activation(keras.layers.Layer):
    """The activation of that name, one of `models.layers.ACTIVATIONS`."""

    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        self.activation = activation

    def call(self, x):
        return activate(self.activation, x)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"activation": self.activation}


def build_network(architecture: Architecture, input_shape, classes, name=None):
    """A `keras.Model` from images `(N, H, W, C)` to logits `(N, classes)`, float32 under any precision."""
    a = architecture
    images = keras.Input(input_shape, name="images")
    x = Conv2D(a.stem_filters, 3, name="stem_conv")(images)
    if a.order == "post":
        x = NORMS[a.norm](a.epsilon, name="stem_norm")(x)
        x = Activation(a.activation, name="stem_activation")(x)
    for stage, block, arguments in a.residual_blocks():
        x = ResidualBlock(**arguments, name=f"stage{stage}_block{block}")(x)
    if a.order == "pre":
        x = NORMS[a.norm](a.epsilon, name="final_norm")(x)
        x = Activation(a.activation, name="final_activation")(x)
    features = keras.layers.GlobalAveragePooling2D(name="average_pool")(x)
    if a.head == "average+max":
        maxima = keras.layers.GlobalMaxPooling2D(name="max_pool")(x)
        features = keras.layers.Concatenate(name="features")([features, maxima])
    logits = keras.layers.Dense(classes, kernel_initializer="he_normal", dtype="float32", name="classifier")(features)
    return keras.Model(images, logits, name=name)


def count_macs(model):
    """Multiply-accumulates of the convolutions and dense layers for one image."""
    total = 0
    for layer in model._flatten_layers():
        if isinstance(layer, Conv2D):
            total += layer.macs
        elif isinstance(layer, keras.layers.Dense):
            total += layer.kernel.shape[0] * layer.kernel.shape[1]
    return total
