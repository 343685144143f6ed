"""A norm with what follows it in a block, the addition of the shortcut and the activation: in one pass where kernels can."""

from models.layers import FUSED, activate
from models.norms import BatchNorm

if FUSED:
    from models import torch_ops


def normalize_and_activate(norm, x, training, activation, residual=None):
    """`activation(norm(x) + residual)`, without a residual where that is None; `(N, H, W, C)`, as x."""
    if FUSED and activation == "relu" and type(norm) is BatchNorm and norm.is_learning(training) and not norm.is_synchronized:
        fits = residual is None or (residual.shape, residual.dtype) == (x.shape, x.dtype)
        if fits and torch_ops.has_kernels(x):
            weights = (w.value for w in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance))
            return torch_ops.batch_norm_relu(x, *weights, norm.momentum, norm.epsilon, residual)
    y = norm.call(x, training)
    return activate(activation, y if residual is None else y + residual)
