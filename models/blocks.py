"""The residual block: one layer whose parts are arguments."""

from itertools import pairwise

import keras

from models.attention import ATTENTIONS
from models.fused import is_served, normalize_and_activate
from models.layers import AveragePool2x2, Conv2D, PadChannels, activate, register
from models.norms import NORMS, Folded, Norm, make_norm
from models.stochastic_depth import StochasticDepth


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
        shortcut: "identity"; "projection", a 1x1 convolution with the stride (He et al. 2015, option B), then norm in post
            order; "zero", every stride-th pixel and new channels of zeros (option A); "pool", 2x2 average pooling where there
            is a stride, 1x1 convolution, norm (He et al. 2019, ResNet-D); or "none", which leaves the branch alone.
        has_study_shortcut: "pool" as the CIFAR-10 study has it: it pools with a stride of 1 too, and its norm, alone in the
            network, keeps Keras' defaults.
        norm, activation, attention: names of each; attention stands at the end of the branch.
        norm_groups: of group norm.
        drop_rate: chance that an image skips the branch in training (stochastic depth).
        padding: of the convolutions, "same" or "symmetric" (see Conv2D).
        epsilon: of the norms.
        folded: a norm that directly follows a convolution is folded into it: see `models.folding`.
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
        has_study_shortcut=False,
        norm="batch",
        norm_groups=8,
        activation="relu",
        attention="none",
        drop_rate=0.0,
        padding="same",
        epsilon=1e-5,
        folded=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.settings = {
            "filters": filters,
            "stride": stride,
            "width": width,
            "groups": groups,
            "order": order,
            "shortcut": shortcut,
            "has_study_shortcut": has_study_shortcut,
            "norm": norm,
            "norm_groups": norm_groups,
            "activation": activation,
            "attention": attention,
            "drop_rate": drop_rate,
            "padding": padding,
            "epsilon": epsilon,
            "folded": folded,
        }
        self.filters, self.stride, self.order, self.shortcut, self.activation = filters, stride, order, shortcut, activation
        self.is_folded = folded and NORMS[norm].is_foldable

        if width is None:
            parts = [(filters, 3, stride, 1), (filters, 3, 1, 1)]
        else:
            parts = [(width, 1, 1, 1), (width, 3, stride, groups), (filters, 1, 1, 1)]
        policy = self.dtype_policy
        # In pre order the first norm follows the block's input, and nothing but the addition follows the last convolution.
        has_norm_after = [order == "post" or part is not parts[-1] for part in parts]
        has_conv_before = [order == "post" or part is not parts[0] for part in parts]
        self.convs = [
            Conv2D(*part, padding, self.is_folded and is_normed, name=f"conv{i}", dtype=policy)
            for i, (part, is_normed) in enumerate(zip(parts, has_norm_after, strict=True), start=1)
        ]
        self.norms = [
            self._norm(f"norm{i}", follows_conv, epsilon=epsilon) for i, follows_conv in enumerate(has_conv_before, start=1)
        ]
        self.rescale = None if attention == "none" else ATTENTIONS[attention](name="attention", dtype=policy)
        self.drop = StochasticDepth(drop_rate, name="drop", dtype=policy) if drop_rate else None
        self.shortcut_layers = self._shortcut_layers()

    def _norm(self, name, follows_conv=True, **options):
        if self.is_folded and follows_conv:
            return Folded(name=name, dtype=self.dtype_policy)
        groups = self.settings["norm_groups"]
        return make_norm(self.settings["norm"], groups, name=name, dtype=self.dtype_policy, **options)

    def _shortcut_layers(self):
        """The layers between the block's input and the addition, in order; none for the identity."""
        filters, stride, policy = self.filters, self.stride, self.dtype_policy
        if self.shortcut in ("identity", "none"):
            return []
        if self.shortcut == "zero":
            return [PadChannels(filters, stride, name="shortcut_pad", dtype=policy)]
        if self.shortcut == "projection":
            is_normed = self.order == "post"
            projection = Conv2D(filters, 1, stride, use_bias=self.is_folded and is_normed, name="shortcut_conv", dtype=policy)
            return [projection, self._norm("shortcut_norm", epsilon=self.settings["epsilon"])] if is_normed else [projection]
        is_as_in_study = self.settings["has_study_shortcut"]
        options = {"epsilon": 1e-3, "momentum": 0.99} if is_as_in_study else {"epsilon": self.settings["epsilon"]}
        pool = AveragePool2x2(stride, name="shortcut_pool", dtype=policy)
        conv = Conv2D(filters, 1, use_bias=self.is_folded, name="shortcut_conv", dtype=policy)
        return [*([pool] if stride > 1 or is_as_in_study else []), conv, self._norm("shortcut_norm", **options)]

    def build(self, input_shape):
        shape = input_shape
        for conv, norm in zip(self.convs, self.norms, strict=True):
            before, shape = shape, conv.compute_output_shape(shape)
            conv.build(before)
            norm.build(before if self.order == "pre" else shape)
        for layer in (self.rescale, self.drop):
            if layer:
                layer.build(shape)
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
            branch = normalize_and_activate(norm, branch, training, self.activation)
            if i == 0 and self.shortcut_layers:
                shortcut = self._project(branch, training)
            branch = conv.call(branch)
        return self._join(branch, shortcut, training)

    def _post_activation(self, x, training):
        if training and is_served(self.norms[-1], self.activation, x):
            return self._post_activation_in_kernels(x)
        branch = x
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            branch = activate(self.activation, branch) if i else branch
            branch = norm.call(conv.call(branch), training)
        return activate(self.activation, self._join(branch, self._project(x, training), training))

    def _post_activation_in_kernels(self, x):
        """Compute the same in training; a kernel normalises, adds and activates, but holds more tensors at once."""
        branch, x = self.convs[0].call_beside(x)
        for conv, norm in zip(self.convs[1:], self.norms[:-1], strict=True):
            branch = conv.call(normalize_and_activate(norm, branch, True, self.activation))
        norm = self.norms[-1]
        shortcut = None if self.shortcut == "none" else self._project(x, True)
        if self.rescale or self.drop:
            return activate(self.activation, self._join(norm.call(branch, True), shortcut, True))
        return normalize_and_activate(norm, branch, True, self.activation, shortcut)

    def call_shortcut(self, x):
        """The block at inference without its branch (Veit et al. 2016, section 4); x passes where there is no skip either."""
        if self.order == "pre":
            start = activate(self.activation, self.norms[0].call(x)) if self.shortcut_layers else x
            return self._project(start, False)
        return activate(self.activation, self._project(x, False))

    def _project(self, x, training):
        for layer in self.shortcut_layers:
            x = layer.call(x, training) if isinstance(layer, Norm) else layer.call(x)
        return x

    def _join(self, branch, shortcut, training):
        if self.rescale:
            branch = self.rescale.call(branch)
        if self.drop:
            branch = self.drop.call(branch, training)
        return branch if self.shortcut == "none" else branch + shortcut

    def norm_pairs(self):
        """(convolution, the foldable norm that directly follows it)."""
        norms = self.norms if self.order == "post" else self.norms[1:]
        pairs = [*zip(self.convs, norms, strict=False), *pairwise(self.shortcut_layers)]
        return [(conv, norm) for conv, norm in pairs if isinstance(conv, Conv2D) and isinstance(norm, Norm) and norm.is_foldable]

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return batch, -(-height // self.stride), -(-width // self.stride), self.filters

    def get_config(self):
        return super().get_config() | self.settings
