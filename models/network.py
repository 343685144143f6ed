"""Construction of a Keras model from an architecture, which is data."""

import re
from dataclasses import asdict, dataclass
from functools import partial

import keras
from keras import ops

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


@dataclass(frozen=True)
class Call:
    """A call of a layer in a network. `reads` are numbers of results: 0 are the images, i is what the i-th call returned."""

    layer: keras.layers.Layer
    reads: tuple[int, ...]


class Recorder:
    """Calls layers one after the other and records the calls: `number = record(layer, numbers of the results that it reads)`."""

    def __init__(self, images):
        self.results, self.calls = [images], []

    def __call__(self, layer, *reads):
        taken = [self.results[i] for i in reads]
        self.results.append(layer(taken if len(taken) > 1 else taken[0]))
        self.calls.append(Call(layer, reads))
        return len(self.calls)

    def network(self, name):
        """Return the Network from the images to the last result."""
        network = Network(self.results[0], self.results[-1], name=name)
        network.calls = tuple(self.calls)
        return network


@register
class Network(keras.Model):
    """A functional Keras model that has its `calls`, in the order in which they were made."""

    def run(self, images, around):
        """Return the logits at inference. `around(layer, call, x)` is called in the place of every layer's `call(x)`, also of
        the parts of a block; x is a tensor, or a list of those that a layer of several reads."""
        results = [ops.convert_to_tensor(images)]
        for layer, reads in ((each.layer, each.reads) for each in self.calls):
            taken = [ops.cast(results[i], layer.compute_dtype) for i in reads]
            call = partial(layer.call, around=around) if isinstance(layer, ResidualBlock) else layer.call
            results.append(around(layer, call, taken if len(taken) > 1 else taken[0]))
        return results[-1]

    def rebuilt(self, layer_of, images=None, first=()):
        """Return the same calls with `layer_of(layer)` in the place of each layer, after those of the layers `first`.

        `images` are the new network's input; None: such as this one's.
        """
        record = Recorder(keras.Input(self.input_shape[1:], name=self.inputs[0].name) if images is None else images)
        numbers = [0]
        for layer in first:
            numbers = [record(layer, numbers[-1])]
        for call in self.calls:
            numbers.append(record(layer_of(call.layer), *(numbers[i] for i in call.reads)))
        return record.network(self.name)


def build_network(architecture: Architecture, input_shape, classes, name=None) -> Network:
    """Build a Network from images `(N, H, W, C)` to logits `(N, classes)`, float32 under any precision.

    Raises ValueError for parts that are unknown or don't fit.
    """
    a = architecture
    a.check({"norm": NORMS, "activation": ACTIVATIONS, "attention": ATTENTIONS})
    record = Recorder(keras.Input(input_shape, name="images"))
    x = build_stem(a, record)
    for stage, block, spec in a.residual_blocks():
        x = record(ResidualBlock(**asdict(spec), name=f"stage{stage}_block{block}"), x)
    if a.order == "pre":
        x = _norm_and_activation(a, record, x, "final")
    features = record(keras.layers.GlobalAveragePooling2D(name="average_pool"), x)
    if a.head == "average+max":
        maxima = record(keras.layers.GlobalMaxPooling2D(name="max_pool"), x)
        features = record(keras.layers.Concatenate(name="features"), features, maxima)
    record(keras.layers.Dense(classes, kernel_initializer="he_normal", dtype="float32", name=CLASSIFIER), features)
    return record.network(name)


def stage_of(name) -> int | None:
    """Return the stage of a layer by its name or path. The stem belongs to stage 1; layers after the stages have None."""
    found = re.match(r"stem|stage(\d+)_", name)
    return int(found[1] or 1) if found else None


def build_stem(a, record):
    """Build the layers before the stages; return the number of their result.

    "conv" is a 3x3 convolution; "conv-norm" adds norm and activation. Two stems for large images reduce height and width to a
    quarter. "imagenet" is a 7x7 convolution with stride 2 (He et al. 2015, table 1). "deep" is three 3x3 convolutions, the first
    with stride 2 (He et al. 2019, ResNet-C). In both, norm and activation follow each convolution, and 3x3 maximum pooling with
    stride 2 ends the stem.
    """
    if a.stem == "conv":
        return record(Conv2D(a.stem_filters, 3, name="stem_conv"), 0)
    if a.stem == "conv-norm":
        return _norm_and_activation(a, record, record(Conv2D(a.stem_filters, 3, name="stem_conv"), 0), "stem")
    if a.stem == "imagenet":
        x = record(Conv2D(a.stem_filters, 7, 2, padding=a.padding, name="stem_conv"), 0)
    else:
        x = record(Conv2D(a.stem_filters // 2, 3, 2, padding=a.padding, name="stem_conv"), 0)
        x = record(Conv2D(a.stem_filters // 2, 3, name="stem_conv2"), _norm_and_activation(a, record, x, "stem1"))
        x = record(Conv2D(a.stem_filters, 3, name="stem_conv3"), _norm_and_activation(a, record, x, "stem2"))
    return record(MaxPool3x3(name="stem_pool"), _norm_and_activation(a, record, x, "stem"))


def _norm_and_activation(a, record, x, name):
    norm = make_norm(a.norm, a.norm_groups, epsilon=a.epsilon, name=f"{name}_norm")
    x = record(norm, x)
    return x if norm.is_activated else record(Activation(a.activation, name=f"{name}_activation"), x)
