"""Batch norm in training as our own GPU kernels, written in Triton; imported only if there is a GPU.

PyTorch's own kernels take a third of a step of ResNet-20 on an H100, mostly for sums over channels-last images of few channels.
Here an image tensor `(N, H, W, C)` is read as rows of `width` numbers, whole groups of channels side by side: 64 of them if C
divides 64, a width at which loads are fast. Each program sums its own rows. A second kernel adds the programs' sums in a fixed
order, so that results repeat to the bit. A third kernel writes images.
"""

import torch
import triton
import triton.language as tl

WIDTH = 64  # columns that a program works on
ROWS = 64  # rows that it loads at a time
PROGRAMS = 256  # programs that share the rows when sums are taken
SETTLED = {"BQ": 512, "BC": 16}  # programs' sums that are added at a time, and channels per program that adds them


class BatchNorm(torch.autograd.Function):
    """`(x - mean) / sqrt(variance + epsilon) * gamma + beta` with the batch's statistics (Ioffe & Szegedy 2015, algorithm 1).

    Moves the moving statistics, in place, to `momentum * old + (1 - momentum) * batch`, of the biased variance. Before images
    are written, a `residual` of x's shape and dtype is added if there is one, and a ReLU is applied if `is_activated`.
    """

    @staticmethod
    def forward(context, x, gamma, beta, moving_mean, moving_variance, momentum, epsilon, residual=None, is_activated=False):
        x = x.contiguous()
        layout = _Layout(x)
        means, squares = (torch.empty(layout.partials, device=x.device) for _ in range(2))
        _moments[layout.sum_grid](x, means, squares, *layout.sizes, BM=ROWS, BC=WIDTH)
        mean, inverse, scale, shift = torch.empty(4, layout.channels, device=x.device)
        moving = moving_mean.detach(), moving_variance.detach()
        _settle_moments[layout.channel_grid](
            means, squares, gamma, beta, *moving, mean, inverse, scale, shift, *layout.partial_sizes, 1.0 - momentum, epsilon,
            **SETTLED,
        )  # fmt: skip
        y = torch.empty_like(x)
        added = x if residual is None else residual.contiguous()
        kind = {"IS_ADDED": residual is not None, "IS_ACTIVATED": is_activated, "BM": ROWS, "BC": WIDTH}
        _transform[layout.image_grid](x, added, y, scale, shift, *layout.image_sizes, **kind)
        context.save_for_backward(x, mean, inverse, scale, *([y] if is_activated else []))
        context.layout, context.is_added = layout, residual is not None
        return y

    @staticmethod
    def backward(context, gradient):
        x, mean, inverse, scale, *activated = context.saved_tensors
        layout, gradient = context.layout, gradient.contiguous()
        sums, products = (torch.empty(layout.partials, device=x.device) for _ in range(2))
        # After a ReLU, this pass also writes the gradient of the ReLU's input, which the residual gets and the last pass reads.
        entered = torch.empty_like(gradient) if activated else gradient
        y = activated[0] if activated else x
        kind = {"IS_ACTIVATED": bool(activated), "BM": ROWS, "BC": WIDTH}
        _gradient_sums[layout.sum_grid](gradient, x, y, mean, entered, sums, products, *layout.sizes, layout.channels, **kind)
        to_gamma, to_beta, slope, constant = torch.empty(4, layout.channels, device=x.device)
        _settle_gradients[layout.channel_grid](
            sums, products, mean, inverse, scale, to_gamma, to_beta, slope, constant, *layout.partial_sizes, **SETTLED
        )  # fmt: skip
        result = torch.empty_like(x)
        _transform_gradient[layout.image_grid](
            entered, x, result, scale, slope, constant, *layout.image_sizes, BM=ROWS, BC=WIDTH
        )  # fmt: skip
        return result, to_gamma, to_beta, None, None, None, None, entered if context.is_added else None, None


class _Layout:
    """Layout of images `(N, H, W, C)` as rows, and their division among programs."""

    def __init__(self, x):
        self.channels = x.shape[-1]
        fits = WIDTH % self.channels == 0 and x.numel() % WIDTH == 0
        self.width = WIDTH if fits else self.channels
        self.rows = x.numel() // self.width
        self.rows_each = triton.cdiv(triton.cdiv(self.rows, PROGRAMS), ROWS) * ROWS
        programs, columns = triton.cdiv(self.rows, self.rows_each), triton.cdiv(self.width, WIDTH)
        self.partials = programs, self.width
        self.sum_grid = programs, columns
        self.image_grid = triton.cdiv(self.rows, ROWS), columns
        self.channel_grid = (triton.cdiv(self.channels, SETTLED["BC"]),)
        self.sizes = self.rows, self.width, self.rows_each
        self.image_sizes = self.rows, self.width, self.channels
        fold = self.width // self.channels  # groups of channels side by side
        self.partial_sizes = programs * fold, fold, self.rows, self.rows_each, self.channels


@triton.jit
def _moments(x, means, squares, rows, width, rows_each, BM: tl.constexpr, BC: tl.constexpr):
    """Write each program's mean and sum of squared deviations, `(programs, width)`, tile by tile (Chan et al. 1979, eq. 2.1)."""
    program = tl.program_id(0)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    first = program * rows_each
    last = tl.minimum(first + rows_each, rows)
    mean = tl.zeros((BC,), tl.float32)
    square = tl.zeros((BC,), tl.float32)
    count = 0.0
    for start in range(first, last, BM):
        row = start + tl.arange(0, BM)
        inside = (row < last)[:, None] & (columns < width)[None, :]
        values = tl.load(x + row.to(tl.int64)[:, None] * width + columns[None, :], mask=inside, other=0.0).to(tl.float32)
        own = tl.minimum(last - start, BM).to(tl.float32)
        own_mean = tl.sum(values, 0) / own
        gaps = tl.where(inside, values - own_mean[None, :], 0.0)
        total = count + own
        gap = own_mean - mean
        mean += gap * (own / total)
        square += tl.sum(gaps * gaps, 0) + gap * gap * (count * own / total)
        count = total
    tl.store(means + program * width + columns, mean, mask=columns < width)
    tl.store(squares + program * width + columns, square, mask=columns < width)


@triton.jit
def _settle_moments(
    means, squares, gamma, beta, moving_mean, moving_variance, mean_of, inverse_of, scale_of, shift_of,
    partials, fold, rows, rows_each, channels, share, epsilon, BQ: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Combine partial moments `(partials, channels)` into mean, scale and shift of each channel; update the moving statistics."""
    channel = tl.program_id(0) * BC + tl.arange(0, BC)
    is_channel = channel < channels
    mean = tl.zeros((BC,), tl.float32)
    square = tl.zeros((BC,), tl.float32)
    count = 0.0
    for start in range(0, partials, BQ):
        partial = start + tl.arange(0, BQ)
        inside = (partial < partials)[:, None] & is_channel[None, :]
        place = partial[:, None] * channels + channel[None, :]
        counts = tl.minimum(rows - partial // fold * rows_each, rows_each).to(tl.float32)
        counts = tl.where(partial < partials, counts, 0.0)
        values = tl.load(means + place, mask=inside, other=0.0)
        own = tl.sum(counts, 0)
        own_mean = tl.sum(values * counts[:, None], 0) / own
        gaps = values - own_mean[None, :]
        own_square = tl.sum(tl.load(squares + place, mask=inside, other=0.0) + gaps * gaps * counts[:, None], 0)
        total = count + own
        gap = own_mean - mean
        mean += gap * (own / total)
        square += own_square + gap * gap * (count * own / total)
        count = total
    variance = square / count
    inverse = 1.0 / tl.sqrt(variance + epsilon)
    scale = tl.load(gamma + channel, mask=is_channel, other=0.0) * inverse
    tl.store(mean_of + channel, mean, mask=is_channel)
    tl.store(inverse_of + channel, inverse, mask=is_channel)
    tl.store(scale_of + channel, scale, mask=is_channel)
    tl.store(shift_of + channel, tl.load(beta + channel, mask=is_channel, other=0.0) - mean * scale, mask=is_channel)
    old = tl.load(moving_mean + channel, mask=is_channel, other=0.0)
    tl.store(moving_mean + channel, old + share * (mean - old), mask=is_channel)
    old = tl.load(moving_variance + channel, mask=is_channel, other=0.0)
    tl.store(moving_variance + channel, old + share * (variance - old), mask=is_channel)


@triton.jit
def _transform(
    x, added, y, scale, shift, rows, width, channels,
    IS_ADDED: tl.constexpr, IS_ACTIVATED: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write `y = x * scale + shift`, with another image added and a ReLU applied if wanted."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    inside = (row < rows)[:, None] & (columns < width)[None, :]
    place = row.to(tl.int64)[:, None] * width + columns[None, :]
    channel = columns % channels
    values = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    result = values * tl.load(scale + channel)[None, :] + tl.load(shift + channel)[None, :]
    if IS_ADDED:
        result += tl.load(added + place, mask=inside, other=0.0).to(tl.float32)
    if IS_ACTIVATED:
        result = tl.maximum(result, 0.0)
    tl.store(y + place, result.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _gradient_sums(
    gradient, x, y, mean_of, entered, sums, products, rows, width, rows_each, channels,
    IS_ACTIVATED: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write the sums of the gradient and of its product with `x - mean` over each program's rows, `(programs, width)`.

    After a ReLU the gradient counts only where `y` is above zero; this gradient is also written to `entered`.
    """
    program = tl.program_id(0)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    mean = tl.load(mean_of + columns % channels)
    first = program * rows_each
    last = tl.minimum(first + rows_each, rows)
    total = tl.zeros((BM, BC), tl.float32)
    product = tl.zeros((BM, BC), tl.float32)
    for start in range(first, last, BM):
        row = start + tl.arange(0, BM)
        inside = (row < last)[:, None] & (columns < width)[None, :]
        place = row.to(tl.int64)[:, None] * width + columns[None, :]
        slope = tl.load(gradient + place, mask=inside, other=0.0).to(tl.float32)
        if IS_ACTIVATED:
            slope = tl.where(tl.load(y + place, mask=inside, other=0.0).to(tl.float32) > 0.0, slope, 0.0)
            tl.store(entered + place, slope.to(entered.dtype.element_ty), mask=inside)
        values = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
        total += slope
        product += slope * (values - mean[None, :])
    tl.store(sums + program * width + columns, tl.sum(total, 0), mask=columns < width)
    tl.store(products + program * width + columns, tl.sum(product, 0), mask=columns < width)


@triton.jit
def _settle_gradients(
    sums, products, mean_of, inverse_of, scale_of, to_gamma, to_beta, slope_of, constant_of,
    partials, fold, rows, rows_each, channels, BQ: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Combine the partial sums into gradients of gamma and beta and factors of x's gradient (see `_transform_gradient`)."""
    channel = tl.program_id(0) * BC + tl.arange(0, BC)
    is_channel = channel < channels
    total = tl.zeros((BC,), tl.float32)
    product = tl.zeros((BC,), tl.float32)
    for start in range(0, partials, BQ):
        partial = start + tl.arange(0, BQ)
        inside = (partial < partials)[:, None] & is_channel[None, :]
        place = partial[:, None] * channels + channel[None, :]
        total += tl.sum(tl.load(sums + place, mask=inside, other=0.0), 0)
        product += tl.sum(tl.load(products + place, mask=inside, other=0.0), 0)
    mean = tl.load(mean_of + channel, mask=is_channel, other=0.0)
    inverse = tl.load(inverse_of + channel, mask=is_channel, other=0.0)
    scale = tl.load(scale_of + channel, mask=is_channel, other=0.0)
    pixels = rows * 1.0 * fold
    gamma = product * inverse
    slope = -scale * inverse * gamma / pixels
    tl.store(to_gamma + channel, gamma, mask=is_channel)
    tl.store(to_beta + channel, total, mask=is_channel)
    tl.store(slope_of + channel, slope, mask=is_channel)
    tl.store(constant_of + channel, -scale * total / pixels - slope * mean, mask=is_channel)


@triton.jit
def _transform_gradient(gradient, x, result, scale, slope, constant, rows, width, channels, BM: tl.constexpr, BC: tl.constexpr):
    """Write the gradient of x as a linear function: `scale * (gradient - its mean - normalised x * its mean product with
    that)`."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    inside = (row < rows)[:, None] & (columns < width)[None, :]
    place = row.to(tl.int64)[:, None] * width + columns[None, :]
    channel = columns % channels
    given = tl.load(gradient + place, mask=inside, other=0.0).to(tl.float32)
    values = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    found = given * tl.load(scale + channel)[None, :] + values * tl.load(slope + channel)[None, :]
    found += tl.load(constant + channel)[None, :]
    tl.store(result + place, found.to(result.dtype.element_ty), mask=inside)
