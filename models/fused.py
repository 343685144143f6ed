"""A norm with what follows it in a block, the addition of the shortcut and the activation: in one pass where kernels can."""

from models.layers import FUSED, activate
from models.norms import BatchNorm

if FUSED:
    from models import torch_ops


def is_served(norm, activation, x, training) -> bool:
    """Return whether one kernel can normalise x and apply the activation."""
    if not (FUSED and activation == "relu" and type(norm) is BatchNorm):
        return False
    if not norm.is_learning(training):
        return torch_ops.has_kernels_at_inference(x)
    return not norm.is_synchronized and torch_ops.has_kernels(x)


def normalize_and_activate(norm, x, training, activation, residual=None):
    """Return `activation(norm(x) + residual)` `(N, H, W, C)`; without a residual or an activation where these are None."""
    fits = residual is None or (residual.shape, residual.dtype) == (x.shape, x.dtype)
    if fits and is_served(norm, activation, x, training):
        weights = (w.value for w in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance))
        options = {"training": norm.is_learning(training), "momentum": norm.momentum, "epsilon": norm.epsilon}
        return torch_ops.batch_norm_relu(x, *weights, **options, residual=residual)
    y = norm.call(x, training)
    y = y if residual is None else y + residual
    return y if activation is None else activate(activation, y)
