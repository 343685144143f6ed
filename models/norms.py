"""Normalisation layers behind one name each. All take and return `(N, H, W, C)` and keep statistics in float32.

Those from scratch start from the mean and variance of every image and channel, `(N, C)`. A norm is then a rule for pooling
them: over images, over channels, over groups of channels, or not at all. With any pooling,

    mean = pool(means),  variance = pool(variances + (means - mean)^2)

are those of the union (the law of total variance), and `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`.
"""

import keras
from keras import ops

from models.layers import FUSED, layers_of, register

if FUSED:
    from models import torch_norms, torch_ops


class Norm(keras.layers.Layer):
    """Base of all norms: a constant epsilon under the root, and the momentum of moving statistics if it keeps them.

    Momentum is Keras': the share of the old value that stays (PyTorch's is one minus it).
    """

    is_foldable = False  # at inference one scale and shift per channel serve every image: see `models.folding`

    def __init__(self, epsilon=1e-5, momentum=0.9, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.momentum = momentum

    def build(self, input_shape):
        channels = input_shape[-1]
        self.gamma = self.add_channel_weight("gamma", channels, "ones")
        self.beta = self.add_channel_weight("beta", channels, "zeros")

    def add_channel_weight(self, name, channels, initializer, **options):
        """Add a float32 weight `(C,)`, also under mixed precision."""
        return self.add_weight(name=name, shape=(channels,), initializer=initializer, autocast=False, **options)

    def add_moving_statistics(self, channels):
        self.moving_mean = self.add_channel_weight("moving_mean", channels, "zeros", trainable=False)
        self.moving_variance = self.add_channel_weight("moving_variance", channels, "ones", trainable=False)

    def follow(self, mean, variance):
        """Move the moving statistics towards those of a batch: `moving = momentum * moving + (1 - momentum) * batch`."""
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            if FUSED:
                torch_norms.follow(moving.value, batch, self.momentum)
            else:
                moving.assign(moving * self.momentum + ops.stop_gradient(batch) * (1.0 - self.momentum))

    def is_learning(self, training):
        """Return whether the norm uses the batch's statistics and updates the moving ones: in training, unless it is frozen."""
        return bool(training) and self.trainable

    def constants(self):
        """Return (scale, shift) `(C,)` for every image at inference; only foldable norms have them."""
        return scale_and_shift(self.moving_mean, self.moving_variance, self.gamma, self.beta, self.epsilon)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"epsilon": self.epsilon, "momentum": self.momentum}


class NormFromScratch(Norm):
    """A norm defined by its pooling rule; the same in training and at inference."""

    def pool(self, values):
        """Return the mean of `values` `(N, C)` over those that share statistics, in a shape that broadcasts to `(N, C)`."""
        raise NotImplementedError

    def pooled(self, means, variances):
        mean = self.pool(means)
        return mean, self.pool(variances + ops.square(means - mean))

    def call(self, x, training=False):
        return normalize(x, self.solve, [self.gamma, self.beta])

    def solve(self, means, variances, gamma, beta):
        """Return scale and shift of every image and channel from its mean and variance."""
        return scale_and_shift(*self.pooled(means, variances), gamma, beta, self.epsilon)


@register
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


@register
class BatchNorm(BatchNormFromScratch):
    """Batch normalisation (Ioffe & Szegedy 2015, algorithm 1): statistics per channel over N, H and W.

    `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`. Learns gamma and beta `(C,)`. Training uses the mean and (biased)
    variance of the batch and updates the moving ones; inference uses the moving ones. On torch this is PyTorch's fused
    operation. It is the norm of all families and the reference for `BatchNormFromScratch`.
    """

    def call(self, x, training=False):
        is_learning = self.is_learning(training)
        if is_learning and self.is_synchronized:
            return super().call(x, training)
        if FUSED:
            weights = (w.value for w in (self.gamma, self.beta, self.moving_mean, self.moving_variance))
            return torch_ops.batch_norm(x, *weights, is_learning, self.momentum, self.epsilon)
        if not is_learning:
            return transform(x, *self.constants())
        mean, variance = ops.moments(ops.cast(x, "float32"), axes=(0, 1, 2))
        self.follow(mean, variance)
        return transform(x, *scale_and_shift(mean, variance, self.gamma, self.beta, self.epsilon))


@register
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


@register
class LayerNorm(NormFromScratch):
    """Layer normalisation (Ba et al. 2016, eq. 3): statistics per image, over H, W and C. Learns gamma and beta `(C,)`."""

    def pool(self, values):
        return ops.mean(values, axis=1, keepdims=True)


@register
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


@register
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


@register
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


def scale_and_shift(mean, variance, gamma, beta, epsilon):
    """Return (scale, shift) with `x * scale + shift = gamma * (x - mean) / sqrt(variance + epsilon) + beta`."""
    scale = gamma * ops.rsqrt(ops.convert_to_tensor(variance) + epsilon)  # adding to a variable would copy epsilon to the device
    return scale, beta - mean * scale


def normalize(x, solve, parameters):
    """Return `x * scale + shift`, both from `solve(means, variances, *parameters)` on every image's statistics `(N, C)`."""
    if FUSED and not torch_ops.is_traced():
        return torch_norms.normalize(x, solve, [parameter.value for parameter in parameters])
    wide = ops.cast(x, "float32")
    means = ops.mean(wide, axis=(1, 2), keepdims=True)
    variances = ops.mean(ops.square(wide - means), axis=(1, 2))
    means = ops.squeeze(means, axis=(1, 2))
    return transform(x, *(value[:, None, None, :] for value in solve(means, variances, *parameters)))


def transform(x, scale, shift):
    """Return `x * scale + shift`, computed in float32, in the dtype of x."""
    return ops.cast(ops.cast(x, "float32") * scale + shift, x.dtype)


def synchronize(model):
    """Make the model's norms over a batch use the batch of all processes that train together (torch only)."""
    for layer in layers_of(model):
        if isinstance(layer, BatchNormFromScratch):
            layer.is_synchronized = True


def make_norm(kind, groups, **options):
    """Return the norm of that name, one of NORMS; only group norm uses `groups`."""
    return NORMS[kind](**options, **({"groups": groups} if kind == "group" else {}))


NORMS = {
    "batch": BatchNorm,
    "batch-scratch": BatchNormFromScratch,
    "instance": InstanceNorm,
    "batch-instance": BatchInstanceNorm,
    "layer": LayerNorm,
    "group": GroupNorm,
    "none": NoNorm,
}
