"""Norms from scratch on PyTorch: their passes over the images and the gradients of these, derived by hand.

As in `models.torch_ops`, tensors are channels-last, `(N, H, W, C)`.
"""

import math
from itertools import chain

import torch

from models.torch_ops import CHUNK


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
    """Return the mean and variance of every image and channel, `(N, C)` float32; around the mean, so that none is lost."""
    mean, variance = (torch.empty(len(x), x.shape[-1], device=x.device) for _ in range(2))
    for x_part, m, v in _by_images(x, mean, variance):
        torch.mean(x_part, 1, dtype=torch.float32, out=m)
        torch.mean((x_part - m[:, None]).square_(), 1, out=v)
    return mean, variance


def _by_images(*tensors):
    """Parts of tensors `(N, H, W, C)`, as `(n, -1, D)`, and of `(N, D)`: so many images at a time as the cache holds."""
    first, last = tensors[0], tensors[-1]
    images = max(_at_once(first) * len(first) // max(first.numel(), 1), 1)
    views = [t.view(len(t), -1, last.shape[-1]) if t.ndim == 4 else t for t in tensors]
    return zip(*(view.split(images) for view in views), strict=True)


def _at_once(x):
    """So many elements of x are worked on at a time."""
    return CHUNK * _threads(x) if x.device.type == "cpu" else x.numel()


def _threads(x):
    return torch.get_num_threads() if x.device.type == "cpu" else 1


def _along_rows(x, *values):
    """Return values `(N, C)` repeated for up to 64 pixels: a few long rows are faster to work on than many of C elements."""
    pixels = math.gcd(x.shape[1] * x.shape[2], 64) if x.device.type == "cpu" else 1
    return (value.repeat(1, pixels) for value in values)


def _addcmul(constant, x, scale, out):
    """Write `constant + x * scale`, computed in float32, to `out`."""
    if out.dtype == torch.float32:
        torch.addcmul(constant, x, scale, out=out)
    else:
        out.copy_(torch.addcmul(constant, x, scale))


def normalize(x, solve, parameters):
    """Each image and channel scaled and shifted as `solve(mean, variance, *parameters)` says; see `models.norms`."""
    return _Normalize.apply(x, solve, *parameters)


class _NormalizeBatch(torch.autograd.Function):
    """Batch norm from its equation, y = scale * x + shift with the statistics of all N * H * W pixels, and by hand its gradient.

    With n pixels and the sums a of g and b of g * x over them, d gamma = (b - mean * a) / deviation, d beta = a, and
    dx = scale * (g - a / n - (x - mean) * d gamma / (deviation * n)), which is linear in g and x.
    """

    @staticmethod
    def forward(context, x, gamma, beta, epsilon):
        x = x.contiguous()
        parts, channels = _long_rows(x), x.shape[-1]
        means, squares = zip(*(_row_moments(part, room) for part, room in _with_room(parts)), strict=True)
        means, squares = (torch.stack(values).view(len(parts), -1, channels) for values in (means, squares))
        # The law of total variance, over parts and the places in a row. Shares are numbers of the host's, which nothing has to
        # bring to the device; the last part's may be smaller.
        share, last = (part.shape[1] * channels / x.numel() for part in (parts[0], parts[-1]))
        mean = _weighted_sum(means, share, last)
        variance = _weighted_sum(squares.add_((means - mean).square_()), share, last)
        inverse = torch.rsqrt(variance + epsilon)
        scale, y = gamma * inverse, torch.empty_like(x)
        a, b = _repeated(parts, scale, beta - mean * scale)
        for x_part, y_part in _last_first(parts, _long_rows(y)):
            _addcmul(b, x_part, a, y_part)
        context.save_for_backward(x, mean, inverse, scale)
        context.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(context, gradient, *_):
        x, mean, inverse, scale = context.saved_tensors
        parts, channels, pixels = _long_rows(x), x.shape[-1], x.numel() // x.shape[-1]
        gradients = _long_rows(gradient.contiguous())
        roomy = _with_room(parts)
        pairs = zip(gradients, roomy, strict=True)
        sums = [(_row_sum(g), _row_sum(torch.mul(g, x, out=room))) for g, (x, room) in pairs]
        to_shift, to_scale = torch.stack(list(chain(*sums))).view(len(parts), 2, -1, channels).sum((0, 2))
        to_gamma = inverse * (to_scale - mean * to_shift)
        slope = scale * inverse * to_gamma / -pixels
        constant = scale * to_shift / -pixels - slope * mean
        result = torch.empty_like(x)
        a, b, c = _repeated(parts, scale, slope, constant)
        for (x_part, room), g_part, r_part in _last_first(roomy, gradients, _long_rows(result)):
            _addcmul(torch.addcmul(c, x_part, b, out=room), g_part, a, r_part)
        return result, to_gamma, to_shift, None


def _long_rows(x):
    """Parts of `(N, H, W, C)` as `(threads, rows, D)`, rows of several pixels, as many as the caches hold.

    A sum over rows shares the work out by the first axis, as what goes element by element does: so every core goes on with
    what its own cache holds. Between cores that are far apart it would take longer than all the rest.
    """
    pixels = math.gcd(x.numel() // x.shape[-1], 64)
    rows = x.view(-1, pixels * x.shape[-1])
    parts = rows.split(max(_at_once(x) // rows.shape[1], 1))
    threads = math.gcd(_threads(x), len(parts[0]), len(parts[-1]))
    return [part.view(threads, -1, rows.shape[1]) for part in parts]


def _weighted_sum(values, weight, last):
    """Return the sum `(C,)` of values `(parts, places, C)`; those of the last part have a weight of their own."""
    return values.sum((0, 1)) * weight + values[-1].sum(0) * (last - weight)


def _row_sum(rows):
    return torch.sum(rows, 1, dtype=torch.float32)


def _row_moments(rows, room):
    """Return the mean over rows and mean square around it, while the rows are in the cache."""
    mean = torch.mean(rows, 1, dtype=torch.float32)
    return mean, torch.mean(torch.sub(rows, mean[:, None], out=room).square_(), 1)


def _with_room(parts):
    """Each part with room for an intermediate result in float32: the same for all, which stays in the cache."""
    room = torch.empty(parts[0].shape, device=parts[0].device)
    return [(part, room[:, : part.shape[1]]) for part in parts]


def _last_first(*parts):
    """Return the parts of tensors together, those first that were looked at last and may still be in the cache."""
    return reversed(list(zip(*parts, strict=True)))


def _repeated(parts, *values):
    """Return values `(C,)` for the pixels of a row."""
    return (value.repeat(parts[0].shape[2] // len(value)) for value in values)


def normalize_batch(x, gamma, beta, epsilon):
    """Batch norm in training from its equation: (y, mean, biased variance)."""
    return _NormalizeBatch.apply(x, gamma, beta, epsilon)


def follow(moving, batch, momentum):
    """Move a moving statistic towards a batch's, without a number that would have to be brought to the device."""
    moving.data.lerp_(batch.detach(), 1.0 - momentum)


class _Total(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(context, x):
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context, gradient):
        return _Total.apply(gradient.contiguous())


def mean_over_processes(values):
    """Return the mean `(1, C)` over the rows of `(N, C)` in all processes, whose numbers of rows may differ."""
    rows = torch.full((1,), float(len(values)), device=values.device)
    total, count = _Total.apply(torch.cat([values.sum(0), rows])).split((values.shape[1], 1))
    return (total / count)[None]
