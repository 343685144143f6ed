"""Our architectures in stock Keras layers, as a user without this project would write them."""

from dataclasses import asdict

import keras
from keras import layers

from foundation import keras_defaults  # noqa: F401  no keras.json is obeyed
from lab.benchmarks.twins import check_twins


def build_stock(architecture, input_shape, classes):
    """The network of `models.network.build_network`; our `stage1_block1/conv1` is `stage1_block1_conv1`. Raises UserError."""
    a = architecture
    check_twins(a)
    images = keras.Input(input_shape)
    x = _stem(images, a)
    build_block = _pre_activation if a.order == "pre" else _post_activation
    for stage, number, block in a.residual_blocks():
        x = build_block(x, f"stage{stage}_block{number}_", block, a)
    if a.order == "pre":
        x = _activate(_norm(x, "final_norm", a.epsilon), a)
    features = layers.GlobalAveragePooling2D()(x)
    if a.head == "average+max":
        features = layers.Concatenate()([features, layers.GlobalMaxPooling2D()(x)])
    return keras.Model(images, layers.Dense(classes, dtype="float32", name="classifier")(features))


def _stem(images, a):
    filters = a.stem_filters
    if a.stem == "conv":
        return _conv(images, "stem_conv", filters, 3)
    if a.stem == "conv-norm":
        return _activate(_norm(_conv(images, "stem_conv", filters, 3), "stem_norm", a.epsilon), a)
    if a.stem == "imagenet":
        x = _conv(images, "stem_conv", filters, 7, 2, padding=a.padding)
    else:
        x = _conv(images, "stem_conv", filters // 2, 3, 2, padding=a.padding)
        x = _conv(_activate(_norm(x, "stem1_norm", a.epsilon), a), "stem_conv2", filters // 2, 3)
        x = _conv(_activate(_norm(x, "stem2_norm", a.epsilon), a), "stem_conv3", filters, 3)
    x = _activate(_norm(x, "stem_norm", a.epsilon), a)
    lowest = float("-inf")  # zeros would win over an activation that is negative everywhere
    around = layers.Lambda(lambda x: keras.ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=lowest))
    return layers.MaxPooling2D(3, 2)(around(x))


def _pre_activation(x, name, block, a):
    shortcut = branch = x
    for i, part in enumerate(block.convolutions, start=1):
        branch = _activate(_norm(branch, f"{name}norm{i}", a.epsilon), a)
        if i == 1 and block.shortcut_parts:
            shortcut = _shortcut(branch, name, block, a)
        branch = _conv(branch, f"{name}conv{i}", **asdict(part), padding=a.padding)
    branch = _attend(branch, name, a)
    return _join(branch, shortcut, block)


def _post_activation(x, name, block, a):
    branch = x
    for i, part in enumerate(block.convolutions, start=1):
        branch = _activate(branch, a) if i > 1 else branch
        branch = _norm(_conv(branch, f"{name}conv{i}", **asdict(part), padding=a.padding), f"{name}norm{i}", a.epsilon)
    branch = _attend(branch, name, a)
    shortcut = _shortcut(x, name, block, a) if block.shortcut_parts else x
    return _activate(_join(branch, shortcut, block), a)


def _attend(x, name, a):
    """Squeeze-and-excitation (Hu et al. 2018), where the architecture has it."""
    if a.attention == "none":
        return x
    channels, options = x.shape[-1], {"use_bias": False, "kernel_initializer": "he_normal"}
    gates = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gates = layers.Dense(max(channels // 16, 1), "relu", name=f"{name}attention_squeeze", **options)(gates)
    gates = layers.Dense(channels, "sigmoid", name=f"{name}attention_excite", **options)(gates)
    return layers.Multiply()([x, gates])


def _join(branch, shortcut, block):
    return layers.Add()([branch, shortcut]) if block.wiring.is_joined else branch


def _shortcut(x, name, block, a):
    if block.shortcut == "pool":
        is_as_in_study = block.has_study_shortcut
        x = layers.AveragePooling2D(2, block.stride, "same")(x) if "shortcut_pool" in block.shortcut_parts else x
        x = _conv(x, f"{name}shortcut_conv", block.filters, 1)
        options = {"epsilon": 1e-3, "momentum": 0.99} if is_as_in_study else {"epsilon": a.epsilon}
        return _norm(x, f"{name}shortcut_norm", **options)
    if block.shortcut == "zero":
        x = layers.MaxPooling2D(1, block.stride)(x) if block.stride > 1 else x
        return layers.Lambda(lambda x: keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, block.filters - x.shape[-1]))))(x)
    x = _conv(x, f"{name}shortcut_conv", block.filters, 1, block.stride)
    return _norm(x, f"{name}shortcut_norm", a.epsilon) if "shortcut_norm" in block.shortcut_parts else x


def _conv(x, name, filters, size, stride=1, groups=1, padding="same"):
    options = {"groups": groups, "use_bias": False, "kernel_initializer": "he_normal", "name": name}
    if padding == "symmetric" and stride > 1 and size > 1:  # as keras.applications writes PyTorch's padding
        return layers.Conv2D(filters, size, stride, "valid", **options)(layers.ZeroPadding2D(size // 2)(x))
    return layers.Conv2D(filters, size, stride, "same", **options)(x)


def _norm(x, name, epsilon, momentum=0.9):
    return layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name)(x)


def _activate(x, a):
    return layers.Activation(a.activation)(x)
