"""A network in Keras' own layers alone, which every program that has Keras can load.

A layer `stage1_block1/conv1` becomes the stock layer `stage1_block1_conv1`, with the same weights under the same names, so that
`lab.training.stock_weights` finds them again. What no stock layer computes is composed of several, exactly.
"""

from functools import partial

import numpy as np
from keras import Input, Model, layers, ops

from foundation.errors import RunFailure
from lab.exporting.steps import ADD, steps_of
from models.attention import CBAM, SqueezeExcite
from models.layers import AveragePool2x2, Conv2D, MaxPool3x3, PadChannels
from models.norms import BatchInstanceNorm, BatchNorm, BatchNormFromScratch, EvoNormS0, GroupNorm, InstanceNorm, LayerNorm, NoNorm
from models.stochastic_depth import StochasticDepth

LAST = {"data_format": "channels_last"}


def stock_network(model):
    """Return a Network's function at inference as a functional model of stock layers. Raises RunFailure where there are none."""
    results = [Input(model.input_shape[1:], dtype=model.inputs[0].dtype, name="images")]
    for step in steps_of(model):
        results.append(_maker(step)(step, *(results[i] for i in step.reads)))
    return Model(results[0], results[-1], name=model.name)


def _maker(step):
    if isinstance(step.what, str):
        return _add if step.what == ADD else _activation
    if type(step.what).__module__.partition(".")[0] == "keras":
        return _stock
    maker = MAKERS.get(type(step.what))
    if maker is None:
        raise RunFailure(f"layer '{step.name}' ({type(step.what).__name__}) can't be said in Keras' own layers")
    return maker


def _with(layer, x, *weights):
    """Call a stock layer and give it weights, arrays or variables."""
    y = layer(x)
    layer.set_weights([ops.convert_to_numpy(weight) for weight in weights])
    return y


def _add(step, x, other):
    return layers.Add(name=step.name)([x, other])


def _activation(step, x):
    return layers.Activation(step.what, name=step.name)(x)


def _stock(step, x, *others):
    """A layer that is Keras' own already; the name in its path is that of the step."""
    layer = type(step.what).from_config(step.what.get_config() | {"name": step.name})
    return _with(layer, [x, *others] if others else x, *step.what.weights)


def _convolution(step, x):
    own, padding = step.what, "same"
    if own.padding == "symmetric" and own.stride > 1 and own.size > 1:
        x, padding = layers.ZeroPadding2D(own.size // 2, name=f"{step.name}_pad", **LAST)(x), "valid"
    options = {"groups": own.groups, "use_bias": own.use_bias, "name": step.name, **LAST}
    layer = layers.Conv2D(own.filters, own.size, own.stride, padding, **options)
    return _with(layer, x, *([own.kernel, own.bias] if own.use_bias else [own.kernel]))


def _batch_norm(step, x):
    own = step.what
    layer = layers.BatchNormalization(momentum=own.momentum, epsilon=own.epsilon, name=step.name)
    return _with(layer, x, own.gamma, own.beta, own.moving_mean, own.moving_variance)


def _group_norm(step, x, groups):
    own = step.what
    layer = layers.GroupNormalization(groups or own.groups, epsilon=own.epsilon, name=step.name)
    return _with(layer, x, own.gamma, own.beta)


def _batch_instance_norm(step, x):
    """The sum of the two norms that the gate mixes: gamma times the gate, and gamma times one minus the gate."""
    own, gate = step.what, ops.convert_to_tensor(step.what.gate)
    options = {"epsilon": own.epsilon}
    batch = layers.BatchNormalization(momentum=own.momentum, name=f"{step.name}_batch", **options)
    instance = layers.GroupNormalization(-1, center=False, name=f"{step.name}_instance", **options)
    parts = [
        _with(batch, x, own.gamma * gate, own.beta, own.moving_mean, own.moving_variance),
        _with(instance, x, own.gamma * (1.0 - gate)),
    ]
    return layers.Add(name=f"{step.name}_mix")(parts)


def _scale_and_shift(name, x, gamma=None, beta=None):
    """`gamma x + beta`: a batch norm that stays frozen, of mean 0, variance 1 and no epsilon."""
    channels = x.shape[-1]
    layer = layers.BatchNormalization(epsilon=0.0, center=beta is not None, scale=gamma is not None, trainable=False, name=name)
    weights = [weight for weight in (gamma, beta) if weight is not None]
    return _with(layer, x, *weights, np.zeros(channels), np.ones(channels))


def _no_norm(step, x):
    return _scale_and_shift(step.name, x, beta=step.what.beta)


def _evonorm(step, x):
    """`gamma x sigmoid(v x) / deviation + beta`, the deviation that of an image's group of channels."""
    own, y = step.what, x
    if own.is_activated:
        gate = _scale_and_shift(f"{step.name}_gate", x, gamma=own.v)
        y = layers.Multiply(name=f"{step.name}_gated")([x, layers.Activation("sigmoid", name=f"{step.name}_sigmoid")(gate)])
    inverse = _inverse_deviation(step.name, x, own.groups, own.epsilon)
    return _scale_and_shift(step.name, layers.Multiply(name=f"{step.name}_scaled")([y, inverse]), own.gamma, own.beta)


def _inverse_deviation(name, x, groups, epsilon):
    """`1 / sqrt(variance + epsilon)` of each group of channels, `(N, 1, 1, C)`, by a group norm that is shown what it divides by.

    Of the H rows of `x - mean`, one is repeated as constants k and -k, with k = sqrt(H epsilon) / 2. The mean stays 0, and the
    variance becomes (H variance + 2 k^2) / (H + 2) = (H variance + H epsilon / 2) / (H + 2). With an epsilon of H epsilon /
    (2 (H + 2)) the norm divides by sqrt(H / (H + 2) (variance + epsilon)): k and -k show one over it.
    """
    _, height, width, channels = x.shape
    means = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_means", **LAST)(x)
    means = layers.Reshape((groups, channels // groups, 1), name=f"{name}_groups")(means)
    means = layers.AveragePooling2D((1, channels // groups), name=f"{name}_group_means", **LAST)(means)
    means = layers.UpSampling2D((1, channels // groups), name=f"{name}_spread", **LAST)(means)
    means = layers.Reshape((1, 1, channels), name=f"{name}_channels")(means)
    centred = layers.Subtract(name=f"{name}_centred")([x, means])
    constant, row = (height * epsilon) ** 0.5 / 2, _cropped(f"{name}_row", centred, (height - 1, 0), (0, 0))
    rows = [layers.Rescaling(0.0, sign * constant, name=f"{name}_{word}")(row) for sign, word in ((1, "above"), (-1, "below"))]
    shown = layers.Concatenate(axis=1, name=f"{name}_with_constants")([centred, *rows])
    shared = {"center": False, "scale": False, "name": f"{name}_divided"}
    shown = layers.GroupNormalization(groups, epsilon=epsilon * height / (2 * (height + 2)), **shared)(shown)
    ends = [_cropped(f"{name}_{i}", shown, (height + i, 1 - i), (0, width - 1)) for i in (0, 1)]
    twice = layers.Subtract(name=f"{name}_twice")(ends)  # so that what is left of the mean falls out
    return layers.Rescaling((height / (height + 2)) ** 0.5 / (2 * constant), name=f"{name}_inverse")(twice)


def _cropped(name, x, rows, columns):
    return layers.Cropping2D((rows, columns), name=name, **LAST)(x)


def _squeeze_excite(step, x):
    means = layers.GlobalAveragePooling2D(keepdims=True, name=f"{step.name}_means", **LAST)(x)
    return _gated(step, x, _mlp(step)(means), "gate")


def _mlp(step):
    """The two dense layers as a function; calls share them."""
    first, second = (
        type(own).from_config(own.get_config() | {"name": f"{step.name}_{own.name}"})
        for own in (step.what.squeeze, step.what.excite)
    )
    return lambda x: _with(second, _with(first, x, step.what.squeeze.kernel), step.what.excite.kernel)


def _gated(step, x, gate, word):
    gate = layers.Activation("sigmoid", name=f"{step.name}_{word}")(gate)
    return layers.Multiply(name=f"{step.name}_{word}d")([x, gate])


def _cbam(step, x):
    _, height, width, channels = x.shape
    mlp, pooling = _mlp(step), (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
    pooled = [mlp(pool(keepdims=True, name=f"{step.name}_{i}", **LAST)(x)) for i, pool in enumerate(pooling)]
    x = _gated(step, x, layers.Add(name=f"{step.name}_sum")(pooled), "gate")
    # Mean and maximum of channels: those over the first axis of an image that is turned round.
    turned = layers.Permute((2, 1), name=f"{step.name}_turned")(
        layers.Reshape((height * width, channels), name=f"{step.name}_flat")(x)
    )
    pooling = (layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D)
    pixels = [pool(name=f"{step.name}_of_channels_{i}", **LAST)(turned) for i, pool in enumerate(pooling)]
    pixels = [layers.Reshape((height, width, 1), name=f"{step.name}_map_{i}")(each) for i, each in enumerate(pixels)]
    own = step.what.locate
    locate = layers.Conv2D(1, own.size, padding="same", use_bias=False, name=f"{step.name}_{own.name}", **LAST)
    return _gated(step, x, _with(locate, layers.Concatenate(name=f"{step.name}_maps")(pixels), own.kernel), "mask")


def _average_pool(step, x):
    """Means of whole windows alone: the last row and column are repeated where a window lacks one."""
    _, height, width, _ = x.shape
    stride = step.what.stride
    if stride == 1 or height % 2:
        x = _joined(f"{step.name}_rows", 1, x, last=_cropped(f"{step.name}_row", x, (height - 1, 0), (0, 0)))
    if stride == 1 or width % 2:
        x = _joined(f"{step.name}_columns", 2, x, last=_cropped(f"{step.name}_column", x, (0, 0), (width - 1, 0)))
    return layers.AveragePooling2D(2, stride, name=step.name, **LAST)(x)


def _max_pool(step, x):
    """A row that is repeated changes no maximum of a window that has it."""
    _, height, width, _ = x.shape
    first, last = (
        _cropped(f"{step.name}_top", x, (0, height - 1), (0, 0)),
        _cropped(f"{step.name}_end", x, (height - 1, 0), (0, 0)),
    )
    x = _joined(f"{step.name}_rows", 1, x, first, last)
    first, last = (
        _cropped(f"{step.name}_left", x, (0, 0), (0, width - 1)),
        _cropped(f"{step.name}_right", x, (0, 0), (width - 1, 0)),
    )
    x = _joined(f"{step.name}_columns", 2, x, first, last)
    return layers.MaxPooling2D(3, 2, name=step.name, **LAST)(x)


def _joined(name, axis, x, first=None, last=None):
    return layers.Concatenate(axis=axis, name=name)([part for part in (first, x, last) if part is not None])


def _pad_channels(step, x):
    own, channels = step.what, x.shape[-1]
    x = layers.MaxPooling2D(1, own.stride, name=f"{step.name}_pixels", **LAST)(x)  # every stride-th pixel
    x = layers.Permute((1, 3, 2), name=f"{step.name}_turned")(x)
    x = layers.ZeroPadding2D(((0, 0), (0, own.filters - channels)), name=f"{step.name}_zeros", **LAST)(x)
    return layers.Permute((1, 3, 2), name=step.name)(x)


def _stochastic_depth(step, x):
    """A dropout that keeps or drops an image's branch whole; at inference nothing."""
    return layers.Dropout(step.what.rate, noise_shape=(None, 1, 1, 1), name=step.name)(x)


MAKERS = {
    Conv2D: _convolution,
    BatchNorm: _batch_norm,
    BatchNormFromScratch: _batch_norm,
    GroupNorm: partial(_group_norm, groups=None),
    InstanceNorm: partial(_group_norm, groups=-1),
    LayerNorm: partial(_group_norm, groups=1),
    BatchInstanceNorm: _batch_instance_norm,
    EvoNormS0: _evonorm,
    NoNorm: _no_norm,
    SqueezeExcite: _squeeze_excite,
    CBAM: _cbam,
    AveragePool2x2: _average_pool,
    MaxPool3x3: _max_pool,
    PadChannels: _pad_channels,
    StochasticDepth: _stochastic_depth,
}
