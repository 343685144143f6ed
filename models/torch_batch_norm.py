"""Batch norm in training as our own GPU kernels, written in Triton; imported only if there is a GPU.

PyTorch's own kernels take a third of a step of ResNet-20 on an H100, mostly for sums over channels-last images of few channels.
Here an image tensor `(N, H, W, C)` is read as rows of `width` numbers, whole groups of channels side by side: 64 of them if C
divides 64, a width at which loads are fast. Each program sums its own rows, for each column. A second kernel adds these parts
`(channels, parts)` in a fixed order, so that results repeat to the bit. A third kernel writes images.
"""

import torch
import triton
import triton.language as tl

WIDTH = 64  # columns that a program works on
ROWS = 64  # rows that it loads at a time
PROGRAMS = 264  # programs that share the rows when sums are taken, 2 for each multiprocessor of an H100
PARTS = {"BQ": 2048, "num_warps": 8}  # parts that are added at a time


class BatchNorm(torch.autograd.Function):
    """`(x - mean) / sqrt(variance + epsilon) * gamma + beta` with the batch's statistics (Ioffe & Szegedy 2015, algorithm 1).

    Moves the moving statistics, in place, to `momentum * old + (1 - momentum) * batch`, of the biased variance. Before images
    are written, a `residual` of x's shape and dtype is added if there is one, and a ReLU is applied if `is_activated`. `moments`
    are those that a `models.torch_convolution.Convolution` returns beside x, or None.
    """

    @staticmethod
    def forward(
        context, x, gamma, beta, moving_mean, moving_variance, momentum, epsilon, residual=None, is_activated=False, moments=None
    ):
        x = x.contiguous()
        layout = _Layout(x)
        (means, squares), parts = _moments_of(x, layout) if moments is None else layout.parts_of(*moments)
        mean, inverse, scale, shift = torch.empty(4, layout.channels, device=x.device)
        moving = moving_mean.detach(), moving_variance.detach()
        _settle_moments[(layout.channels,)](
            means, squares, gamma, beta, *moving, mean, inverse, scale, shift, *parts, 1.0 - momentum, epsilon, **PARTS
        )
        y = torch.empty_like(x)
        added = x if residual is None else residual.contiguous()
        kind = {"IS_ADDED": residual is not None, "IS_ACTIVATED": is_activated, "BM": ROWS, "BC": WIDTH}
        _transform[layout.image_grid](x, added, y, scale, shift, *layout.image_sizes, **kind)
        # Where nothing was added, x tells the sign of y, and y is not read again.
        context.save_for_backward(x, mean, inverse, scale, shift, *([y] if is_activated and residual is not None else []))
        context.layout, context.is_activated, context.is_added = layout, is_activated, residual is not None
        return y

    @staticmethod
    def backward(context, gradient):
        x, mean, inverse, scale, shift, *result = context.saved_tensors
        layout, gradient = context.layout, gradient.contiguous()
        sums, products = torch.empty(2, *layout.parts_shape, device=x.device)
        # After an addition and a ReLU, this pass also writes the gradient of the sum, for the residual and for the last pass.
        entered = torch.empty_like(gradient) if result else gradient
        kind = {"IS_FROM_X": context.is_activated and not result, "BM": ROWS, "BC": WIDTH}
        y = result[0] if result else x
        _gradient_sums[layout.sum_grid](
            gradient,
            x,
            y,
            mean,
            scale,
            shift,
            entered,
            sums,
            products,
            *layout.sizes,
            layout.channels,
            IS_FROM_Y=bool(result),
            **kind,
        )
        to_gamma, to_beta, slope, constant = torch.empty(4, layout.channels, device=x.device)
        pixels = float(x.numel() // layout.channels)
        _settle_gradients[(layout.channels,)](
            sums, products, mean, inverse, scale, to_gamma, to_beta, slope, constant, layout.parts_shape[1], pixels, **PARTS
        )
        to_x = torch.empty_like(x)
        _transform_gradient[layout.image_grid](entered, x, to_x, scale, shift, slope, constant, *layout.image_sizes, **kind)
        return to_x, to_gamma, to_beta, None, None, None, None, entered if context.is_added else None, None, None


class _Layout:
    """Layout of images `(N, H, W, C)` as rows, and their division among programs."""

    def __init__(self, x):
        self.channels = x.shape[-1]
        fits = WIDTH % self.channels == 0 and x.numel() % WIDTH == 0
        width = WIDTH if fits else self.channels
        self.fold = width // self.channels  # groups of channels side by side
        self.rows = x.numel() // width
        self.rows_each = triton.cdiv(triton.cdiv(self.rows, PROGRAMS), ROWS) * ROWS
        programs, columns = triton.cdiv(self.rows, self.rows_each), triton.cdiv(width, WIDTH)
        self.parts_shape = self.channels, programs * self.fold
        self.sum_grid = programs, columns
        self.image_grid = triton.cdiv(self.rows, ROWS), columns
        self.sizes = self.rows, width, self.rows_each, self.fold, self.parts_shape[1]
        self.image_sizes = self.rows, width, self.channels

    def parts_of(self, moments, pixels_each):
        """Return moments of a convolution, and the sizes that `_settle_moments` takes for them."""
        return moments, (moments.shape[2], 1, self.rows * self.fold, pixels_each)


def _moments_of(x, layout):
    moments = torch.empty(2, *layout.parts_shape, device=x.device)
    _moments[layout.sum_grid](x, *moments, *layout.sizes, layout.channels, BM=ROWS, BC=WIDTH)
    return moments, (layout.parts_shape[1], layout.fold, layout.rows, layout.rows_each)


@triton.jit
def _moments(x, means, squares, rows, width, rows_each, fold, parts, channels, BM: tl.constexpr, BC: tl.constexpr):
    """Write each program's mean and sum of squared deviations, tile by tile (Chan et al. 1979, eq. 2.1)."""
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
    place = columns % channels * parts + program * fold + columns // channels
    tl.store(means + place, mean, mask=columns < width)
    tl.store(squares + place, square, mask=columns < width)


@triton.jit
def _settle_moments(
    means, squares, gamma, beta, moving_mean, moving_variance, mean_of, inverse_of, scale_of, shift_of,
    parts, fold, rows, rows_each, share, epsilon, BQ: tl.constexpr,
):  # fmt: skip
    """Combine a channel's moments of `parts` into its mean, scale and shift; update its moving statistics."""
    channel = tl.program_id(0)
    mean = 0.0
    square = 0.0
    count = 0.0
    for start in range(0, parts, BQ):
        part = start + tl.arange(0, BQ)
        inside = part < parts
        counts = tl.where(inside, tl.minimum(rows - part // fold * rows_each, rows_each), 0).to(tl.float32)
        values = tl.load(means + channel * parts + part, mask=inside, other=0.0)
        own_square = tl.load(squares + channel * parts + part, mask=inside, other=0.0)
        own = tl.sum(counts, 0)
        own_mean = tl.sum(values * counts, 0) / own
        gaps = values - own_mean
        total = count + own
        gap = own_mean - mean
        mean += gap * (own / total)
        square += tl.sum(own_square + gaps * gaps * counts, 0) + gap * gap * (count * own / total)
        count = total
    variance = square / count
    inverse = 1.0 / tl.sqrt(variance + epsilon)
    scale = tl.load(gamma + channel) * inverse
    tl.store(mean_of + channel, mean)
    tl.store(inverse_of + channel, inverse)
    tl.store(scale_of + channel, scale)
    tl.store(shift_of + channel, tl.load(beta + channel) - mean * scale)
    old = tl.load(moving_mean + channel)
    tl.store(moving_mean + channel, old + share * (mean - old))
    old = tl.load(moving_variance + channel)
    tl.store(moving_variance + channel, old + share * (variance - old))


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
    gradient, x, y, mean_of, scale, shift, entered, sums, products, rows, width, rows_each, fold, parts, channels,
    IS_FROM_X: tl.constexpr, IS_FROM_Y: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write the sums of the gradient and of its product with `x - mean` over each program's rows.

    After a ReLU the gradient counts only where its result is above zero. This is seen from x, or from `y`; then this gradient is
    also written to `entered`.
    """
    program = tl.program_id(0)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    channel = columns % channels
    mean = tl.load(mean_of + channel)
    factor = tl.load(scale + channel)[None, :]
    constant = tl.load(shift + channel)[None, :]
    first = program * rows_each
    last = tl.minimum(first + rows_each, rows)
    total = tl.zeros((BM, BC), tl.float32)
    product = tl.zeros((BM, BC), tl.float32)
    for start in range(first, last, BM):
        row = start + tl.arange(0, BM)
        inside = (row < last)[:, None] & (columns < width)[None, :]
        place = row.to(tl.int64)[:, None] * width + columns[None, :]
        slope = tl.load(gradient + place, mask=inside, other=0.0).to(tl.float32)
        values = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
        if IS_FROM_X:
            slope = tl.where(values * factor + constant > 0.0, slope, 0.0)
        if IS_FROM_Y:
            slope = tl.where(tl.load(y + place, mask=inside, other=0.0).to(tl.float32) > 0.0, slope, 0.0)
            tl.store(entered + place, slope.to(entered.dtype.element_ty), mask=inside)
        total += slope
        product += slope * (values - mean[None, :])
    place = channel * parts + program * fold + columns // channels
    tl.store(sums + place, tl.sum(total, 0), mask=columns < width)
    tl.store(products + place, tl.sum(product, 0), mask=columns < width)


@triton.jit
def _settle_gradients(
    sums, products, mean_of, inverse_of, scale_of, to_gamma, to_beta, slope_of, constant_of, parts, pixels, BQ: tl.constexpr
):
    """Combine a channel's sums of `parts` into gradients of gamma and beta and factors of x's (see `_transform_gradient`)."""
    channel = tl.program_id(0)
    total = tl.zeros((BQ,), tl.float32)
    product = tl.zeros((BQ,), tl.float32)
    for start in range(0, parts, BQ):
        part = start + tl.arange(0, BQ)
        total += tl.load(sums + channel * parts + part, mask=part < parts, other=0.0)
        product += tl.load(products + channel * parts + part, mask=part < parts, other=0.0)
    beta = tl.sum(total, 0)
    inverse = tl.load(inverse_of + channel)
    scale = tl.load(scale_of + channel)
    gamma = tl.sum(product, 0) * inverse
    slope = -scale * inverse * gamma / pixels
    tl.store(to_gamma + channel, gamma)
    tl.store(to_beta + channel, beta)
    tl.store(slope_of + channel, slope)
    tl.store(constant_of + channel, -scale * beta / pixels - slope * tl.load(mean_of + channel))


@triton.jit
def _transform_gradient(
    gradient, x, result, scale, shift, slope, constant, rows, width, channels,
    IS_FROM_X: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write the gradient of x as a linear function: `scale * (gradient - its mean - normalised x * its mean product with
    that)`. The gradient counts only where a ReLU let x pass, if that is seen from x."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    inside = (row < rows)[:, None] & (columns < width)[None, :]
    place = row.to(tl.int64)[:, None] * width + columns[None, :]
    channel = columns % channels
    factor = tl.load(scale + channel)[None, :]
    given = tl.load(gradient + place, mask=inside, other=0.0).to(tl.float32)
    values = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    if IS_FROM_X:
        given = tl.where(values * factor + tl.load(shift + channel)[None, :] > 0.0, given, 0.0)
    found = given * factor + values * tl.load(slope + channel)[None, :]
    found += tl.load(constant + channel)[None, :]
    tl.store(result + place, found.to(result.dtype.element_ty), mask=inside)
