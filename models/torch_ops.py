"""PyTorch's fused operations for the layers. In `models/`, only the files named `torch_...` import torch.

Every function takes and returns channels-last tensors `(N, H, W, C)` as Keras sees them. Inside they are viewed as `(N, C, H,
W)` in torch's channels_last memory format, which is the same memory: the view copies nothing.
"""

import contextlib
import functools
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from models import torch_cpu

CHUNK = 1 << 18  # elements that a core works on at a time, so that intermediate results stay in its cache
MOST_CHANNELS = 64  # of our own convolution; above it, cuDNN's is faster


def is_traced() -> bool:
    """Return whether torch.compile or torch.export is tracing. It needs plain operations, which it fuses by itself."""
    return torch.compiler.is_compiling()


@contextlib.contextmanager
def kernels_replaced(by_id):
    """Make `conv2d` use other tensors as kernels while the block runs: their casts to half precision, by the kernels' ids."""
    _replacements.update(by_id)
    try:
        yield
    finally:
        _replacements.clear()


_replacements = {}


def channels_first(x):
    return x.permute(0, 3, 1, 2)


def channels_last(x):
    return x.permute(0, 2, 3, 1)


def same_padding(size, kernel, stride) -> tuple[int, int]:
    """Return the rows (or columns) that Keras' `same` adds before and after an axis; the odd one is added after it."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def conv2d(x, kernel, bias, stride, groups, padding="same"):
    """Convolution in the input's dtype; kernel `(kh, kw, C_in / groups, C_out)`, bias `(C_out,)` or None.

    Padding is "same" or "symmetric"; see `models.layers.Conv2D`.
    """
    return conv2d_beside(x, kernel, bias, stride, groups, padding)[0]


def conv2d_beside(x, kernel, bias, stride, groups, padding="same"):
    """Return `conv2d(x)` and x, for a shortcut around the convolution: our kernels add the shortcut's gradient to x's in passing.

    They also leave the moments of their result with it, as its attribute `moments`, for a batch norm that follows.
    """
    if padding == "symmetric":
        top = bottom = kernel.shape[0] // 2
        left = right = kernel.shape[1] // 2
    else:
        top, bottom = same_padding(x.shape[1], kernel.shape[0], stride)
        left, right = same_padding(x.shape[2], kernel.shape[1], stride)
    if _replacements:
        kernel = _replacements.get(id(kernel), kernel)
    kernel = kernel.to(x.dtype)
    is_plain = bias is None and groups == 1
    if is_plain and has_convolution(x, kernel):
        size = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
        y, moments, tile, x = _kernels().convolution.Convolution.apply(x, kernel, stride, size, top, left)
        y.moments = moments, tile
        return y, x
    images = channels_first(x)
    if (top, left) != (bottom, right):
        images, top, left = F.pad(images, (left, right, top, bottom)), 0, 0
    if is_plain and is_computed(x) and torch_cpu.has_convolution(x, kernel):
        return torch_cpu.Convolution.apply(channels_last(images), kernel, stride, (top, left)), x
    bias = None if bias is None else bias.to(x.dtype)
    return channels_last(F.conv2d(images, kernel.permute(3, 2, 0, 1), bias, stride, (top, left), groups=groups)), x


def average_pool_2x2(x, stride):
    """Return the mean of 2x2 windows with `same` padding, which does not count."""
    x = channels_first(x)
    is_compiled = is_traced() and not torch.compiler.is_exporting()  # which gets the layout of a repeated row's gradient wrong
    repeats = x.device.type == "cpu" and not is_compiled
    return channels_last(_pool_repeating(x, stride) if repeats else _pool_counting(x, stride))


def _pool_repeating(x, stride):
    """Repeat the last row before pooling: the mean over a window of two rows is then the mean of its one real row."""
    bottom, right = (same_padding(size, 2, stride)[1] for size in x.shape[2:])
    if bottom or right:
        x = F.pad(x, (0, right, 0, bottom), mode="replicate")
    return F.avg_pool2d(x, 2, stride)


def _pool_counting(x, stride):
    """Count real pixels, for GPUs, where the deterministic gradient of a repeated row is slow.

    On a CPU the copy that drops the windows before the first pixel takes longer.
    """
    if stride > 1:
        return F.avg_pool2d(x, 2, stride, ceil_mode=True, count_include_pad=False)
    return F.avg_pool2d(x, 2, 1, 1, count_include_pad=False)[:, :, 1:, 1:]


def max_pool_3x3(x):
    """Return the maximum of 3x3 windows with stride 2 and symmetric padding that is never the maximum."""
    return channels_last(F.max_pool2d(channels_first(x), 3, 2, 1))


def batch_norm(x, gamma, beta, moving_mean, moving_variance, training, momentum, epsilon):
    """Apply `F.batch_norm`, but keep the moving statistics as Keras does: with the biased variance of the batch."""
    count = x.numel() // x.shape[-1]
    if training and count == 1:
        return _batch_norm_of_one(x, gamma, beta, moving_mean, moving_variance, momentum)
    if training and has_kernels(x):
        return _batch_norm_in_kernels(x, gamma, beta, moving_mean, moving_variance, momentum, epsilon)
    if not training and has_kernels_at_inference(x):
        return torch_cpu.batch_norm_at_inference(x, gamma, beta, moving_mean, moving_variance, epsilon)
    if training:
        # F.batch_norm adds the unbiased variance, count / (count - 1) times the biased one: scaling the buffer before
        # and after leaves exactly momentum * old + (1 - momentum) * biased. Through .data, since autograd holds the
        # buffer, never reads it in training, and would take the scaling for a fault.
        moving_variance.data.mul_(count / (count - 1))
    whole = F.batch_norm(channels_first(x), moving_mean, moving_variance, gamma, beta, training, 1.0 - momentum, epsilon)
    y: Any = channels_last(whole)
    if training:
        moving_variance.data.mul_((count - 1) / count)
    if not is_traced():
        y.whole = whole  # for `relu`
    return y


def batch_norm_relu(x, gamma, beta, moving_mean, moving_variance, training, momentum, epsilon, residual):
    """Apply batch norm, the addition of a residual (or None) and a ReLU in one pass.

    Needs `has_kernels`, at inference `has_kernels_at_inference`.
    """
    if not training:
        return torch_cpu.batch_norm_at_inference(x, gamma, beta, moving_mean, moving_variance, epsilon, residual, True)
    return _batch_norm_in_kernels(
        x, gamma, beta, moving_mean, moving_variance, momentum, epsilon, residual=residual, is_activated=True
    )


def _batch_norm_in_kernels(x, *arguments, residual=None, is_activated=False):
    moments = getattr(x, "moments", None)  # of a convolution that has taken them already
    norm = _kernels().norm if x.is_cuda else torch_cpu
    return norm.BatchNorm.apply(x, *arguments, residual, is_activated, moments)


def is_computed(x) -> bool:
    """Return whether torch computes with a tensor and nobody looks on: a fake one has no content, a mode counts operations."""
    return type(x) is torch.Tensor and not is_traced() and not is_in_torch_dispatch_mode()


def has_kernels(x) -> bool:
    """Return whether our own kernels apply to a tensor: on a device that they compile for."""
    if not is_computed(x) or x.numel() <= x.shape[-1]:
        return False
    return _kernels() is not None if x.is_cuda else torch_cpu.has_kernels(x)


def has_kernels_at_inference(x) -> bool:
    """Return whether our own batch norm applies at inference: on a CPU, where nobody asks for a gradient."""
    return not torch.is_grad_enabled() and is_computed(x) and torch_cpu.has_kernels(x)


def has_convolution(x, kernel):
    """Return whether our own convolution is at least as fast as cuDNN's: few channels, in half precision."""
    height, width, channels_in, channels_out = kernel.shape
    is_small = height == width and height in (1, 3) and max(channels_in, channels_out) <= MOST_CHANNELS
    if not (is_small and x.is_cuda and x.dtype in (torch.bfloat16, torch.float16) and has_kernels(x)):
        return False
    # asked last: while a program is exported, a question about the batch's size would bound that size
    return x.numel() // channels_in * max(channels_in, channels_out) < 1 << 31


class Kernels(NamedTuple):
    norm: Any  # the module `models.torch_batch_norm`
    convolution: Any  # the module `models.torch_convolution`


@functools.cache
def _kernels() -> Any:
    """Return our Kernels, or None with a note if Triton can't compile them (no C compiler, no Python headers)."""
    try:
        from models import torch_batch_norm, torch_convolution

        x, gamma, mean = (torch.ones(shape, device="cuda") for shape in ((2, 1, 1, 4), 4, 4))
        torch_batch_norm.BatchNorm.apply(x, gamma, gamma, mean, mean.clone(), 0.9, 1e-5)
    except Exception as error:  # the compiler raises errors of many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(f"note: PyTorch's operations serve, which are slower: our kernels can't be compiled here ({reason})", flush=True)
        return None
    return Kernels(torch_batch_norm, torch_convolution)


def _batch_norm_of_one(x, gamma, beta, moving_mean, moving_variance, momentum):
    """Apply batch norm to one value per channel, which torch refuses: it is its own mean, with variance 0."""
    moving_mean.data.lerp_(x.detach().float().flatten(), 1.0 - momentum)
    moving_variance.data.mul_(momentum)
    return ((x - x) * gamma + beta).to(x.dtype)


class _SpatialMean(torch.autograd.Function):
    """Mean over height and width. Its gradient is a view of one value per channel, which autograd would write out in full."""

    @staticmethod
    def forward(context, x):
        context.shape = x.shape
        return x.mean((1, 2))

    @staticmethod
    def backward(context, gradient):
        _, height, width, _ = context.shape
        return (gradient / (height * width))[:, None, None, :].expand(context.shape)


class _Mish(torch.autograd.Function):
    """Mish on a CPU by one exponential: with e = exp(x) and w = e (e + 2), tanh(softplus(x)) = w / (w + 2).

    Torch's own takes an exponential, a logarithm and a hyperbolic tangent, and is two to five times slower.
    """

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        y = torch.empty_like(x)
        for x_part, y_part in zip(_flat(x).split(CHUNK), _flat(y).split(CHUNK), strict=True):
            x_part = x_part.float()
            e = x_part.clamp(max=20.0).exp_()  # tanh(softplus(20)) is 1 in float32, and exp(20) squared still finite
            w = (e + 2.0).mul_(e)
            y_part.copy_(torch.div(w, w + 2.0, out=e).mul_(x_part))
        return y

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        gradient = gradient.contiguous()
        result = torch.empty_like(x)
        parts = (_flat(tensor).split(CHUNK) for tensor in (x, gradient, result))
        for x_part, gradient_part, result_part in zip(*parts, strict=True):
            x_part = x_part.float()
            e = x_part.clamp(max=20.0).exp_()
            w = (e + 2.0).mul_(e)
            inverse = torch.reciprocal(w + 2.0)
            # d/dx tanh(softplus(x)) = 4 e (e + 1) / (w + 2)^2
            slope = (e + 1.0).mul_(e).mul_(inverse).mul_(inverse).mul_(x_part).mul_(4.0)
            result_part.copy_(slope.addcmul_(w, inverse).mul_(gradient_part))
        return result


def _flat(x):
    return x.view(-1)


def mish(x):
    if is_traced() or x.device.type != "cpu":
        return F.mish(x)
    return torch_cpu.Mish.apply(x) if is_computed(x) and torch_cpu.has_kernels(x) else _Mish.apply(x.contiguous())


def spatial_mean(x):
    """Return the mean over height and width, `(N, C)`. Torch sums bfloat16 in float32 without a float32 copy."""
    return x.mean((1, 2)) if is_traced() else _SpatialMean.apply(x)


def relu(x):
    """Apply ReLU; while gradients are recorded, overwrite x, the fresh result of a norm or an addition that nothing else reads.

    For an operation in place on a view, autograd copies the whole tensor. So where a norm says which tensor its result is a view
    of, that one is overwritten and viewed again. (If x were needed for a gradient, autograd would raise an error.)
    """
    if x.grad_fn is None or is_traced():
        return F.relu(x)
    whole = getattr(x, "whole", None)
    return F.relu_(x) if whole is None else channels_last(F.relu_(whole))


ACTIVATIONS = {"relu": relu, "mish": mish, "silu": F.silu, "gelu": F.gelu}
