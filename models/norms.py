"""Normalisation layers behind one name each. All take and return `(N, H, W, C)` and keep statistics in float32."""

import keras
from keras import ops

from foundation.norm_table import NORM_TABLE
from models.layers import FUSED, FUSES_BATCH_NORM, layers_of, register
from models.norm_base import NORMS, Norm, NormFromScratch, image_moments, norm, normalize, scale_and_shift, transform

if FUSED:
    from models import torch_norms, torch_ops
if FUSES_BATCH_NORM:
    from models import tensorflow_ops


@norm("batch-scratch")
class BatchNormFromScratch(NormFromScratch):
    """Batch normalisation from its equation (Ioffe & Szegedy 2015, algorithm 1): pools over images.

    `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`, mean and (biased) variance per channel over N, H and W. Learns
    gamma and beta `(C,)`. Training uses the batch's statistics and updates the moving ones; inference uses the moving ones.
    """

    is_foldable = True
    is_synchronized = False  # the batch is that of all processes which train together: see `synchronize`

    def build(self, input_shape):
        super().build(input_shape)
        self.add_moving_statistics(input_shape[-1])

    def pool(self, values):
        return torch_norms.mean_over_processes(values) if self.is_synchronized else ops.mean(values, axis=0, keepdims=True)

    def pooled(self, means, variances):
        mean, variance = super().pooled(means, variances)
        self.follow(mean[0], variance[0])
        return mean, variance

    def call(self, x, training=False):
        if not self.is_learning(training):
            return transform(x, *self.constants())
        if FUSED and not self.is_synchronized and not torch_ops.is_traced():
            y, mean, variance = torch_norms.normalize_batch(x, self.gamma.value, self.beta.value, self.epsilon)
            self.follow(mean, variance)
            return y
        return super().call(x)


@norm("batch")
class BatchNorm(BatchNormFromScratch):
    """Batch normalisation (Ioffe & Szegedy 2015, algorithm 1): statistics per channel over N, H and W.

    `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`. Learns gamma and beta `(C,)`. Training uses the mean and (biased)
    variance of the batch and updates the moving ones; inference uses the moving ones. On torch and tensorflow this is their fused
    operation. It is the norm of all families and the reference for `BatchNormFromScratch`.
    """

    def call(self, x, training=False):
        is_learning = self.is_learning(training)
        if is_learning and self.is_synchronized:
            return super().call(x, training)
        if FUSED:
            weights = (w.value for w in (self.gamma, self.beta, self.moving_mean, self.moving_variance))
            return torch_ops.batch_norm(x, *weights, training=is_learning, momentum=self.momentum, epsilon=self.epsilon)
        if not is_learning:
            return transform(x, *self.constants())
        if FUSES_BATCH_NORM and tensorflow_ops.has_batch_norm(x):
            gamma, beta = map(ops.convert_to_tensor, (self.gamma, self.beta))
            y, mean, variance = tensorflow_ops.batch_norm(x, gamma, beta, self.epsilon)
            self.follow(mean, variance)
            return y
        mean, variance = ops.moments(ops.cast(x, "float32"), axes=(0, 1, 2))
        self.follow(mean, variance)
        return transform(x, *scale_and_shift(mean, variance, self.gamma, self.beta, self.epsilon))


@norm("instance")
class InstanceNorm(NormFromScratch):
    """Instance normalisation (Ulyanov et al. 2016, eq. 2): statistics per image and channel, over H and W.

    Learns gamma and beta `(C,)`. Raises ValueError for images of one pixel, which would all become beta.
    """

    def build(self, input_shape):
        if input_shape[1] == input_shape[2] == 1:
            raise ValueError(f"instance norm needs more than one pixel, received images of {input_shape[1]}x{input_shape[2]}")
        super().build(input_shape)

    def pool(self, values):
        return values


@norm("layer")
class LayerNorm(NormFromScratch):
    """Layer normalisation (Ba et al. 2016, eq. 3): statistics per image, over H, W and C. Learns gamma and beta `(C,)`."""

    def pool(self, values):
        return ops.mean(values, axis=1, keepdims=True)


@norm("group")
class GroupNorm(NormFromScratch):
    """Group normalisation (Wu & He 2018, eq. 7): per image and group of neighbouring channels, over H, W and C / groups.

    Learns gamma and beta `(C,)`; the same for any batch size. Raises ValueError when `groups` does not divide C.
    """

    def __init__(self, groups=8, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups

    def build(self, input_shape):
        if input_shape[-1] % self.groups:
            raise ValueError(f"groups={self.groups} must divide channels={input_shape[-1]}")
        super().build(input_shape)

    def pool(self, values):
        grouped = ops.reshape(values, (-1, self.groups, values.shape[-1] // self.groups))
        means = ops.broadcast_to(ops.mean(grouped, axis=2, keepdims=True), ops.shape(grouped))
        return ops.reshape(means, ops.shape(values))

    def get_config(self):
        return super().get_config() | {"groups": self.groups}


@norm("evonorm-s0")
class EvoNormS0(GroupNorm):
    """EvoNorm-S0 (Liu et al. 2020, section 4.2): a norm and its own activation, a gate for each channel, in one.

    `y = gamma * x * sigmoid(v * x) / sqrt(variance + epsilon) + beta` with the variance per image and group of channels, the
    same for any batch size; learns gamma, beta and v `(C,)`. No mean is subtracted. Where no activation belongs, as before an
    addition, `is_activated` is False and there is no gate. Raises ValueError when `groups` does not divide C.
    """

    def __init__(self, is_activated=True, **kwargs):
        super().__init__(**kwargs)
        self.is_activated = is_activated

    def build(self, input_shape):
        super().build(input_shape)
        self.v = self.add_channel_weight("v", input_shape[-1], "ones") if self.is_activated else None

    def call(self, x, training=False):
        wide = ops.cast(x, "float32")
        scale, _ = self.solve(*image_moments(wide), self.gamma, self.beta)
        gated = wide * ops.sigmoid(wide * self.v) if self.is_activated else wide
        return ops.cast(gated * scale[:, None, None, :] + self.beta, x.dtype)

    def get_config(self):
        return super().get_config() | {"is_activated": self.is_activated}


@norm("batch-instance")
class BatchInstanceNorm(BatchNormFromScratch):
    """Batch-instance normalisation (Nam & Kim 2018, eq. 3): a gate per channel mixes batch norm and instance norm.

    `y = gamma * (gate * x_batch + (1 - gate) * x_instance) + beta`. Learns gamma, beta and gate `(C,)`. The gate starts at 1,
    pure batch norm, and is kept in [0, 1] after every step. It learns ten times as fast: its gradient is tenfold (which
    optimizers that rescale gradients, such as Adam, undo). Inference uses the moving statistics in place of the batch's.
    """

    is_foldable = False
    gate_speed = 10.0

    def build(self, input_shape):
        super().build(input_shape)
        self.gate = self.add_channel_weight("gate", input_shape[-1], "ones", constraint=UnitInterval())

    def call(self, x, training=False):
        def solve(means, variances, gamma, beta, gate):
            batch = self.pooled(means, variances) if self.is_learning(training) else (self.moving_mean, self.moving_variance)
            gate = gate * self.gate_speed - ops.stop_gradient(gate) * (self.gate_speed - 1.0)
            gamma_batch, gamma_instance = gamma * gate, gamma * (1.0 - gate)
            scale, shift = scale_and_shift(*batch, gamma_batch, beta, self.epsilon)
            own_scale, own_shift = scale_and_shift(means, variances, gamma_instance, 0.0, self.epsilon)
            return scale + own_scale, shift + own_shift

        return normalize(x, solve, [self.gamma, self.beta, self.gate])


@register
class UnitInterval(keras.constraints.Constraint):
    """Keeps a weight in [0, 1]."""

    def __call__(self, weight):
        if FUSED:  # `ops.clip` would bring its two bounds to the device, which a step must not wait for
            return ops.convert_to_tensor(weight).clamp(0.0, 1.0)
        return ops.clip(weight, 0.0, 1.0)


@norm("none")
class NoNorm(Norm):
    """No statistics: only the shift beta `(C,)` that convolutions without bias leave to their norm."""

    is_foldable = True

    def build(self, input_shape):
        self.beta = self.add_channel_weight("beta", input_shape[-1], "zeros")

    def call(self, x, training=False):
        return x + ops.cast(self.beta, x.dtype)

    def constants(self):
        return ops.ones_like(self.beta), self.beta


@register
class Folded(Norm):
    """Identity that replaces a norm which was folded into the convolution before it."""

    def build(self, input_shape):
        pass

    def call(self, x, training=False):
        return x


def synchronize(model):
    """Make the model's norms over a batch use the batch of all processes that train together (torch only)."""
    for layer in layers_of(model):
        if isinstance(layer, BatchNormFromScratch):
            layer.is_synchronized = True


def make_norm(kind, groups, is_activated=True, **options):
    """Return the norm of that name, one of NORMS. It has groups, and `is_activated`, if its row of NORM_TABLE says so."""
    row = NORM_TABLE[kind]
    options |= {"groups": groups} if row.has_groups else {}
    options |= {"is_activated": is_activated} if row.has_activation else {}
    return NORMS[kind](**options)
