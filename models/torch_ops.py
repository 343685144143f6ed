"""PyTorch's fused operations under the layers: the one file of `models/` that imports torch.

Every function takes and returns channels-last tensors `(N, H, W, C)` as Keras sees them. Inside they are viewed as
`(N, C, H, W)` in torch's channels_last memory format, which is the same memory: the view copies nothing.
"""

import math

import torch
import torch.nn.functional as F

CHUNK = 1 << 18  # elements that an operation on a CPU works on at a time, so that its intermediates stay in the cache


def is_traced():
    """Whether torch.compile or torch.export is reading along: it wants plain operations, which it fuses by itself."""
    return torch.compiler.is_compiling()


def channels_first(x):
    return x.permute(0, 3, 1, 2)


def channels_last(x):
    return x.permute(0, 2, 3, 1)


def same_padding(size, kernel, stride):
    """Rows (or columns) that Keras' `same` adds before and after an axis: the odd one goes to the far side."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def conv2d(x, kernel, bias, stride, groups, padding="same"):
    """Convolution in the input's dtype; kernel `(kh, kw, C_in / groups, C_out)`, bias `(C_out,)` or None.

    Padding is "same" or "symmetric"; see `models.layers.Conv2D`.
    """
    if padding == "symmetric":
        top = bottom = kernel.shape[0] // 2
        left = right = kernel.shape[1] // 2
    else:
        top, bottom = same_padding(x.shape[1], kernel.shape[0], stride)
        left, right = same_padding(x.shape[2], kernel.shape[1], stride)
    x = channels_first(x)
    if (top, left) != (bottom, right):
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    kernel = kernel.to(x.dtype).permute(3, 2, 0, 1)
    bias = None if bias is None else bias.to(x.dtype)
    return channels_last(F.conv2d(x, kernel, bias, stride, (top, left), groups=groups))


def average_pool_2x2(x, stride):
    """Mean of 2x2 windows, `same` padding; the padding does not count."""
    bottom, right = (same_padding(size, 2, stride)[1] for size in x.shape[1:3])
    x = channels_first(x)
    if bottom or right:
        # Repeating the last row leaves the mean over a window of two equal to the mean over its one real row.
        x = F.pad(x, (0, right, 0, bottom), mode="replicate")
    return channels_last(F.avg_pool2d(x, 2, stride))


def max_pool_3x3(x):
    """Maximum of 3x3 windows with stride 2 and symmetric padding that is never the maximum."""
    return channels_last(F.max_pool2d(channels_first(x), 3, 2, 1))


def batch_norm(x, gamma, beta, moving_mean, moving_variance, training, momentum, epsilon):
    """`F.batch_norm`, with the moving statistics kept as Keras keeps them: by the biased variance of the batch."""
    count = x.numel() // x.shape[-1]
    if training and count == 1:
        return _batch_norm_of_one(x, gamma, beta, moving_mean, moving_variance, momentum)
    if training:
        # F.batch_norm adds the unbiased variance, count / (count - 1) times the biased one: scaling the buffer before
        # and after leaves exactly momentum * old + (1 - momentum) * biased. Through .data, since autograd holds the
        # buffer, never reads it in training, and would take the scaling for a fault.
        moving_variance.data.mul_(count / (count - 1))
    y = F.batch_norm(channels_first(x), moving_mean, moving_variance, gamma, beta, training, 1.0 - momentum, epsilon)
    if training:
        moving_variance.data.mul_((count - 1) / count)
    return channels_last(y)


def _batch_norm_of_one(x, gamma, beta, moving_mean, moving_variance, momentum):
    """The case that torch refuses: one value per channel is its own mean, with variance 0."""
    moving_mean.data.lerp_(x.detach().float().flatten(), 1.0 - momentum)
    moving_variance.data.mul_(momentum)
    return ((x - x) * gamma + beta).to(x.dtype)


class _Normalize(torch.autograd.Function):
    """`x * scale + shift`, where `solve` finds scale and shift `(N, C)` from every image's mean and variance per channel.

    Gradient by hand, in two passes over the images; that of `solve`, whose tensors are tiny, by autograd.
    """

    @staticmethod
    def forward(context, x, solve, *parameters):
        x = x.contiguous()
        mean, variance = _image_moments(x)
        leaves = [leaf.detach().requires_grad_() for leaf in (mean, variance, *parameters)]
        with torch.enable_grad():
            scale, shift = (value.expand(mean.shape) for value in solve(*leaves))
        y = torch.empty_like(x)
        for x_part, y_part, a, b in _by_images(x, y, *_along_rows(x, scale.detach(), shift.detach())):
            _addcmul(b[:, None], x_part, a[:, None], y_part)
        context.save_for_backward(x)
        context.solution = leaves, scale, shift
        return y

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        leaves, scale, shift = context.solution
        gradient = gradient.contiguous()
        to_scale, to_shift = torch.empty_like(scale), torch.empty_like(shift)
        for x_part, g_part, a, b in _by_images(x, gradient, to_scale, to_shift):
            torch.sum(g_part * x_part, 1, out=a)
            torch.sum(g_part, 1, dtype=torch.float32, out=b)
        to_mean, to_variance, *to_parameters = torch.autograd.grad(
            (scale, shift), leaves, (to_scale, to_shift), allow_unused=True, materialize_grads=True
        )
        # The mean's gradient reaches every pixel as 1 / pixels, the variance's as 2 (x - mean) / pixels.
        pixels = x.shape[1] * x.shape[2]
        slope = to_variance * (2.0 / pixels)
        constant = to_mean / pixels - slope * leaves[0].detach()
        result = torch.empty_like(x)
        for x_part, g_part, r_part, a, b, c in _by_images(x, gradient, result, *_along_rows(x, scale.detach(), slope, constant)):
            _addcmul(torch.addcmul(c[:, None], x_part, b[:, None]), g_part, a[:, None], r_part)
        return result, None, *to_parameters


def _image_moments(x):
    """Mean and variance of every image and channel, `(N, C)` float32; the variance around the mean, so that none is lost."""
    mean, variance = (torch.empty(len(x), x.shape[-1], device=x.device) for _ in range(2))
    for x_part, m, v in _by_images(x, mean, variance):
        torch.mean(x_part, 1, dtype=torch.float32, out=m)
        torch.mean((x_part - m[:, None]).square_(), 1, out=v)
    return mean, variance


def _by_images(*tensors):
    """Parts of tensors `(N, H, W, C)`, as `(n, -1, D)`, and of `(N, D)`: so many images at a time as the cache holds."""
    first, last = tensors[0], tensors[-1]
    images = max(CHUNK * len(first) // max(first.numel(), 1), 1) if first.device.type == "cpu" else max(len(first), 1)
    views = [t.view(len(t), -1, last.shape[-1]) if t.ndim == 4 else t for t in tensors]
    return zip(*(view.split(images) for view in views), strict=True)


def _along_rows(x, *values):
    """Values `(N, C)` repeated for up to 64 pixels: a few long rows are faster to work on than many of C elements."""
    pixels = math.gcd(x.shape[1] * x.shape[2], 64) if x.device.type == "cpu" else 1
    return (value.repeat(1, pixels) for value in values)


def _addcmul(constant, x, scale, out):
    """Writes `constant + x * scale`, computed in float32, to `out`."""
    if out.dtype == torch.float32:
        torch.addcmul(constant, x, scale, out=out)
    else:
        out.copy_(torch.addcmul(constant, x, scale))


def normalize(x, solve, parameters):
    """Each image and channel scaled and shifted as `solve(mean, variance, *parameters)` says; see `models.norms`."""
    return _Normalize.apply(x, solve, *parameters)


class _SpatialMean(torch.autograd.Function):
    """Mean over height and width whose gradient is a view of one value per channel: autograd would write it out in full."""

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

    Torch's own takes an exponential, a logarithm and a hyperbolic tangent, and two to five times as long.
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
    return F.mish(x) if is_traced() or x.device.type != "cpu" else _Mish.apply(x.contiguous())


def spatial_mean(x):
    """Mean over height and width, `(N, C)`; torch adds bfloat16 up in float32 without a float32 copy."""
    return x.mean((1, 2)) if is_traced() else _SpatialMean.apply(x)


def relu(x):
    """ReLU; while gradients are recorded it overwrites x, the fresh result of a norm or an addition that nobody else reads.

    On a view, and most of our tensors are views, autograd pays for that with copies of the whole. So the tensor behind the
    view is overwritten, and viewed again. (Were x needed for a gradient, autograd would say so.)
    """
    if x.grad_fn is None or is_traced():
        return F.relu(x)
    if x._base is None:
        return F.relu_(x)
    if x._base.shape == channels_first(x).shape:
        return channels_last(F.relu_(x._base))
    return F.relu(x)


ACTIVATIONS = {"relu": relu, "mish": mish, "silu": F.silu, "gelu": F.gelu}
