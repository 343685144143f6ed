"""Construction of a Keras model from an architecture, which is data."""

import re

import keras

from models.architecture import Architecture
from models.attention import ATTENTIONS
from models.blocks import ResidualBlock
from models.layers import ACTIVATIONS, Conv2D, MaxPool3x3, activate, register
from models.norms import NORMS, make_norm

CLASSIFIER = "classifier"
HEAD = f"{CLASSIFIER}/"  # prefix of the paths of its weights


@register
class Activation(keras.layers.Layer):
    """Activation of a name in `models.layers.ACTIVATIONS`."""

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
    """Build a `keras.Model` from images `(N, H, W, C)` to logits `(N, classes)`, float32 under any precision.

    Raises ValueError for parts that are unknown or don't fit.
    """
    a = architecture
    a.check({"norm": NORMS, "activation": ACTIVATIONS, "attention": ATTENTIONS})
    images = keras.Input(input_shape, name="images")
    x = build_stem(a, images)
    for stage, block, arguments in a.residual_blocks():
        x = ResidualBlock(**arguments, name=f"stage{stage}_block{block}")(x)
    if a.order == "pre":
        x = _norm_and_activation(a, x, "final")
    features = keras.layers.GlobalAveragePooling2D(name="average_pool")(x)
    if a.head == "average+max":
        maxima = keras.layers.GlobalMaxPooling2D(name="max_pool")(x)
        features = keras.layers.Concatenate(name="features")([features, maxima])
    logits = keras.layers.Dense(classes, kernel_initializer="he_normal", dtype="float32", name=CLASSIFIER)(features)
    return keras.Model(images, logits, name=name)


def stage_of(name):
    """Return the stage of a layer by its name or path. The stem belongs to stage 1; layers after the stages have None."""
    found = re.match(r"stem|stage(\d+)_", name)
    return int(found[1] or 1) if found else None


def build_stem(a, images):
    """Build the layers before the stages.

    "conv" is a 3x3 convolution; "conv-norm" adds norm and activation. Two stems for large images reduce height and width to a
    quarter. "imagenet" is a 7x7 convolution with stride 2 (He et al. 2015, table 1). "deep" is three 3x3 convolutions, the first
    with stride 2 (He et al. 2019, ResNet-C). In both, norm and activation follow each convolution, and 3x3 maximum pooling with
    stride 2 ends the stem.
    """
    if a.stem == "conv":
        return Conv2D(a.stem_filters, 3, name="stem_conv")(images)
    if a.stem == "conv-norm":
        return _norm_and_activation(a, Conv2D(a.stem_filters, 3, name="stem_conv")(images), "stem")
    if a.stem == "imagenet":
        x = Conv2D(a.stem_filters, 7, 2, padding=a.padding, name="stem_conv")(images)
    else:
        x = Conv2D(a.stem_filters // 2, 3, 2, padding=a.padding, name="stem_conv")(images)
        x = Conv2D(a.stem_filters // 2, 3, name="stem_conv2")(_norm_and_activation(a, x, "stem1"))
        x = Conv2D(a.stem_filters, 3, name="stem_conv3")(_norm_and_activation(a, x, "stem2"))
    return MaxPool3x3(name="stem_pool")(_norm_and_activation(a, x, "stem"))


def _norm_and_activation(a, x, name):
    x = make_norm(a.norm, a.norm_groups, epsilon=a.epsilon, name=f"{name}_norm")(x)
    return Activation(a.activation, name=f"{name}_activation")(x)
