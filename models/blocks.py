"""The residual block: one layer whose parts are arguments."""

import keras

from models.attention import ATTENTIONS
from models.layers import AveragePool2x2, Conv2D, activate, register
from models.norms import NORMS, Norm


@register
class ResidualBlock(keras.layers.Layer):
    """`branch(x) + shortcut(x)`: `(N, H, W, C)` to `(N, ceil(H / stride), ceil(W / stride), filters)`.

    Args:
        filters: channels of the output.
        stride: of the first 3x3 convolution and of the shortcut.
        width: None for a basic block of two 3x3 convolutions (He et al. 2015, figure 5 left), else the inner channels of
            a bottleneck 1x1, 3x3, 1x1 (figure 5 right).
        groups: of the bottleneck's 3x3 convolution: its cardinality (Xie et al. 2017, section 3).
        order: "pre", norm and activation before each convolution (He et al. 2016, figure 4e), or "post", after it.
        shortcut: "identity"; "projection", a 1x1 convolution with the stride, then norm (He et al. 2015, option B); or
            "pool", 2x2 average pooling with the stride, 1x1 convolution, norm (He et al. 2019, ResNet-D).
        norm, activation, attention: names of each; attention stands at the end of the branch.
        padding: of the convolutions, "same" or "symmetric" (see Conv2D).
        epsilon: of the branch's norms.
    """

    def __init__(
        self,
        filters,
        *,
        stride=1,
        width=None,
        groups=1,
        order="pre",
        shortcut="identity",
        norm="batch",
        activation="relu",
        attention="none",
        padding="same",
        epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.stride, self.width, self.groups = filters, stride, width, groups
        self.order, self.shortcut = order, shortcut
        self.norm, self.activation, self.attention = norm, activation, attention
        self.padding, self.epsilon = padding, epsilon

        if width is None:
            parts = [(filters, 3, stride, 1), (filters, 3, 1, 1)]
        else:
            parts = [(width, 1, 1, 1), (width, 3, stride, groups), (filters, 1, 1, 1)]
        policy = self.dtype_policy
        self.convs = [Conv2D(*part, padding, name=f"conv{i}", dtype=policy) for i, part in enumerate(parts, start=1)]
        self.norms = [NORMS[norm](epsilon, name=f"norm{i}", dtype=policy) for i in range(1, len(parts) + 1)]
        self.rescale = None if attention == "none" else ATTENTIONS[attention](name="attention", dtype=policy)
        self.shortcut_layers = self._shortcut_layers()

    def _shortcut_layers(self):
        """The layers between the block's input and the addition, in order; none for the identity."""
        policy = self.dtype_policy
        if self.shortcut == "identity":
            return []
        if self.shortcut == "projection":
            return [
                Conv2D(self.filters, 1, self.stride, name="shortcut_conv", dtype=policy),
                NORMS[self.norm](self.epsilon, name="shortcut_norm", dtype=policy),
            ]
        # The study behind this shortcut left its norm, alone in the network, at Keras' defaults.
        return [
            AveragePool2x2(self.stride, name="shortcut_pool", dtype=policy),
            Conv2D(self.filters, 1, name="shortcut_conv", dtype=policy),
            NORMS[self.norm](epsilon=1e-3, momentum=0.99, name="shortcut_norm", dtype=policy),
        ]

    def build(self, input_shape):
        shape = input_shape
        for conv, norm in zip(self.convs, self.norms, strict=True):
            before, shape = shape, conv.compute_output_shape(shape)
            conv.build(before)
            norm.build(before if self.order == "pre" else shape)
        if self.rescale:
            self.rescale.build(shape)
        shape = input_shape
        for layer in self.shortcut_layers:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    # The parts are called by `call`, not as layers: what Keras does around a layer costs more than some of them.
    def call(self, x, training=False):
        return self._pre_activation(x, training) if self.order == "pre" else self._post_activation(x, training)

    def _pre_activation(self, x, training):
        shortcut = branch = x
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            branch = activate(self.activation, norm.call(branch, training))
            if i == 0 and self.shortcut_layers:
                shortcut = self._project(branch, training)
            branch = conv.call(branch)
        return self._rescale(branch) + shortcut

    def _post_activation(self, x, training):
        branch = x
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            branch = activate(self.activation, branch) if i else branch
            branch = norm.call(conv.call(branch), training)
        return activate(self.activation, self._rescale(branch) + self._project(x, training))

    def _project(self, x, training):
        for layer in self.shortcut_layers:
            x = layer.call(x, training) if isinstance(layer, Norm) else layer.call(x)
        return x

    def _rescale(self, branch):
        return self.rescale.call(branch) if self.rescale else branch

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return batch, -(-height // self.stride), -(-width // self.stride), self.filters

    def get_config(self):
        names = (
            "filters",
            "stride",
            "width",
            "groups",
            "order",
            "shortcut",
            "norm",
            "activation",
            "attention",
            "padding",
            "epsilon",
        )
        return super().get_config() | {name: getattr(self, name) for name in names}
