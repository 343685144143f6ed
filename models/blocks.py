"""The residual block: one layer whose parts are arguments."""

from dataclasses import asdict, dataclass, fields
from itertools import pairwise

import keras

from models.architecture import ACTIVATION, BlockSpec
from models.attention import ATTENTIONS
from models.fused import is_served, normalize_and_activate
from models.layers import AveragePool2x2, Conv2D, PadChannels, activate, register
from models.norms import NORMS, Folded, Norm, make_norm
from models.stochastic_depth import StochasticDepth

SPEC = tuple(field.name for field in fields(BlockSpec))


@dataclass(frozen=True)
class _Bound:
    """A block's wiring with its parts: (part or None, whether an activation follows) for every step, by stretch of the wiring."""

    trunk: tuple
    branch: tuple
    shortcut: tuple
    after: tuple


@register
class ResidualBlock(keras.layers.Layer):
    """`branch(x) + shortcut(x)`: `(N, H, W, C)` to `(N, ceil(H / stride), ceil(W / stride), filters)`.

    Its arguments are the fields of a `models.architecture.BlockSpec`, which says what each means and how parts are wired.
    """

    def __init__(self, filters, **options):
        own = {name: options.pop(name) for name in SPEC if name in options}
        super().__init__(**options)
        self.spec = spec = BlockSpec(filters, **own)
        self.is_folded = spec.folded and NORMS[spec.norm].is_foldable
        policy, wiring = self.dtype_policy, spec.wiring
        # What a norm follows directly, a convolution, takes the norm's shift for a bias where it is folded.
        pairs = [*pairwise(wiring.trunk + wiring.branch), *pairwise(wiring.shortcut)]
        self.norm_of = {conv: norm for conv, norm in pairs if "conv" in conv and "norm" in norm}
        self.convs = [self._conv(f"conv{i}", **asdict(conv)) for i, conv in enumerate(spec.convolutions, start=1)]
        self.norms = [self._norm(f"norm{i}", epsilon=spec.epsilon) for i, _ in enumerate(self.convs, start=1)]
        self.rescale = None if spec.attention == "none" else ATTENTIONS[spec.attention](name="attention", dtype=policy)
        self.drop = StochasticDepth(spec.drop_rate, name="drop", dtype=policy) if spec.drop_rate else None
        self.shortcut_layers = [self._shortcut_part(name) for name in spec.shortcut_parts]
        self.bound = _Bound(*map(self._bind, (wiring.trunk, wiring.branch, wiring.shortcut, wiring.after)))

    def _conv(self, name, filters, size, stride=1, groups=1, padding=None, **options):
        is_biased = self.is_folded and name in self.norm_of
        options |= {"padding": padding or self.spec.padding, "use_bias": is_biased, "name": name, "dtype": self.dtype_policy}
        return Conv2D(filters, size, stride, groups, **options)

    def _norm(self, name, **options):
        if self.is_folded and name in self.norm_of.values():
            return Folded(name=name, dtype=self.dtype_policy)
        options |= {"is_activated": name in self.spec.activated_norms, "name": name, "dtype": self.dtype_policy}
        return make_norm(self.spec.norm, self.spec.norm_groups, **options)

    def _shortcut_part(self, name):
        spec, policy = self.spec, self.dtype_policy
        is_pooled = spec.shortcut == "pool"
        if name == "shortcut_pad":
            return PadChannels(spec.filters, spec.stride, name=name, dtype=policy)
        if name == "shortcut_pool":
            return AveragePool2x2(spec.stride, name=name, dtype=policy)
        if name == "shortcut_conv":
            return self._conv(name, spec.filters, 1, 1 if is_pooled else spec.stride, padding="same")
        is_as_in_study = is_pooled and spec.has_study_shortcut
        return self._norm(name, **({"epsilon": 1e-3, "momentum": 0.99} if is_as_in_study else {"epsilon": spec.epsilon}))

    @property
    def parts(self):
        """{name: layer} of the layers inside."""
        layers = (*self.convs, *self.norms, self.rescale, self.drop, *self.shortcut_layers)
        return {layer.name: layer for layer in layers if layer}

    def _bind(self, steps):
        bound = []
        for step in steps:
            if step != ACTIVATION:
                bound.append((self.parts[step], False))
            elif bound and isinstance(bound[-1][0], Norm):
                bound[-1] = bound[-1][0], True
            else:
                bound.append((None, True))
        return tuple(bound)

    def build(self, input_shape):
        for part, shape, _ in self.shapes(input_shape):
            if part:
                part.build(shape)

    def shapes(self, input_shape):
        """Yield (part or None for an activation, shape that it reads, shape that it writes) for every step."""
        wiring = self.spec.wiring
        start = yield from self._shapes(wiring.trunk, input_shape)
        end = yield from self._shapes(wiring.branch, start)
        yield from self._shapes(wiring.shortcut, start)
        yield from self._shapes(wiring.after, end)

    def _shapes(self, steps, shape):
        parts = self.parts
        for step in steps:
            part, read = parts.get(step), shape
            if part:
                shape = part.compute_output_shape(read)
            yield part, read, shape
        return shape

    def call(self, x, training=False, around=None):
        """`around(part, call, x)`, if there is one, is called in the place of each part's `call(x)`, at inference."""
        if self.spec.order == "post" and not around and is_served(self.norms[-1], self.spec.activation, x, training):
            return self._post_activation_in_kernels(x, training)
        bound, shortcut = self.bound, None
        x = self._run(bound.trunk, x, training, around)
        if bound.trunk:  # whose result the cache still holds
            shortcut = self._run(bound.shortcut, x, training, around)
        branch = self._run(bound.branch, x, training, around)
        if self.spec.shortcut != "none":
            branch = branch + (self._run(bound.shortcut, x, training, around) if shortcut is None else shortcut)
        return self._run(bound.after, branch, training, around)

    # The parts are called by `call`, not as layers: what Keras does around a layer costs more than some of them.
    def _run(self, steps, x, training, around=None):
        for part, is_activated in steps:
            activation = self.spec.activation if is_activated else None
            if part is None:
                x = activate(activation, x)
            elif around:
                x = around(part, part.call, x)
                x = activate(activation, x) if is_activated else x
            elif isinstance(part, Norm):
                x = normalize_and_activate(part, x, training, activation)
            else:
                x = part.call(x, training) if part is self.drop else part.call(x)
        return x

    def _post_activation_in_kernels(self, x, training):
        """Compute the same; a kernel normalises, adds and activates, but holds more tensors at once."""
        branch, x = self.convs[0].call_beside(x)
        activation = self.spec.activation
        for conv, norm in zip(self.convs[1:], self.norms[:-1], strict=training):
            branch = conv.call(normalize_and_activate(norm, branch, training, activation))
        norm = self.norms[-1]
        shortcut = None if self.spec.shortcut == "none" else self._run(self.bound.shortcut, x, training)
        if not (self.rescale or self.drop):
            return normalize_and_activate(norm, branch, training, activation, shortcut)
        branch = norm.call(branch, training)
        branch = self.rescale.call(branch) if self.rescale else branch
        branch = self.drop.call(branch, training) if self.drop else branch
        return activate(activation, branch if shortcut is None else branch + shortcut)

    def call_shortcut(self, x):
        """The block at inference without its branch (Veit et al. 2016, section 4); x passes where there is no skip either."""
        for steps in (self.bound.trunk, self.bound.shortcut, self.bound.after):
            x = self._run(steps, x, False)
        return x

    def norm_pairs(self):
        """Return (convolution, the foldable norm that directly follows it)."""
        pairs = ((self.parts[conv], self.parts[norm]) for conv, norm in self.norm_of.items())
        return [(conv, norm) for conv, norm in pairs if norm.is_foldable]

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return batch, -(-height // self.spec.stride), -(-width // self.spec.stride), self.spec.filters

    def get_config(self):
        return super().get_config() | asdict(self.spec)
