"""Convolution of few channels in half precision as our own GPU kernels, written in Triton; imported only if there is a GPU.

cuDNN is made for many channels. At 16 and 32, widths of ResNet-20 (He et al. 2015, section 4.2), it takes two to three times as
long as these kernels on an H100. Here a program computes all channels of a tile of pixels `(N, H, W, C)`: for each tap, which is
a position in the kernel, it reads the tile's neighbours there and multiplies them by the tap's matrix `(C_in, C_out)` on the
tensor cores. Sums are float32 and are taken in a fixed order, so that results repeat to the bit.
"""

import torch
import triton
import triton.language as tl

SETTLED = {"BQ": 256, "BC": 32}  # programs' sums of a kernel's gradient that are added at a time, and elements per program


class Convolution(torch.autograd.Function):
    """Convolution of images `(N, H, W, C_in)` with a kernel `(kh, kw, C_in, C_out)` of the same dtype, 1x1 or 3x3.

    `top` and `left` are the rows and columns of zeros before the image; behind it, zeros follow as far as they are read.

    Returns images `(N, rows, columns, C_out)`; their moments for the norm that follows, which are each tile's means and sums of
    squared deviations `(2, C_out, tiles)` float32 and the number of pixels of a tile; and x itself, for a shortcut around the
    convolution: the shortcut's gradient is then added where x's is written.
    """

    @staticmethod
    def forward(context, given, kernel, stride, size, top, left):
        x, kernel = given.contiguous(), kernel.permute(3, 0, 1, 2).contiguous()
        geometry = _Geometry(x.shape, kernel.shape, stride, size, top, left)
        y = torch.empty(geometry.result, dtype=x.dtype, device=x.device)
        moments = torch.empty(2, geometry.channels_out, geometry.tiles, device=x.device)
        _convolve[(geometry.tiles,)](
            x, kernel, y, *moments, geometry.pixels, geometry.tiles, *geometry.sizes, **geometry.constants
        )
        context.save_for_backward(x, kernel)
        context.geometry = geometry
        context.mark_non_differentiable(moments)
        context.set_materialize_grads(False)
        return y, moments, geometry.tile, given

    @staticmethod
    def backward(context, gradient, _moments, _tile, passed):
        x, kernel = context.saved_tensors
        if gradient is None:
            return passed, None, None, None, None, None
        geometry, gradient = context.geometry, gradient.contiguous()
        to_x = geometry.gradient_of_x(gradient, kernel, passed) if context.needs_input_grad[0] else None
        to_kernel = geometry.gradient_of_kernel(gradient, x) if context.needs_input_grad[1] else None
        return to_x, to_kernel, None, None, None, None


class _Geometry:
    """Sizes of a convolution, and its division among programs."""

    def __init__(self, image, kernel, stride, size, top, left):
        count, height, width, self.channels_in = image
        self.channels_out, self.kernel_height, self.kernel_width, _ = kernel
        self.image, self.result = image, (count, *size, self.channels_out)
        self.pixels_in, self.pixels = count * height * width, count * size[0] * size[1]
        self.sizes = height, width, *size, top, left
        widest = max(self.channels_in, self.channels_out)
        # What was fastest on an H100 for 128, 512 and 2,048 images.
        self.tile, self.warps = (256, 4) if widest <= 16 else (128, 4) if widest <= 32 else (128, 8)
        self.tile_of_sums = 128 if widest <= 32 else 64
        self.programs = 264 if widest <= 16 else 132
        self.tiles = triton.cdiv(self.pixels, self.tile)
        self.constants = {
            "CI": self.channels_in, "CO": self.channels_out, "BI": _block(self.channels_in), "BO": _block(self.channels_out),
            "KH": self.kernel_height, "KW": self.kernel_width, "STRIDE": stride, "BM": self.tile, "num_warps": self.warps,
        }  # fmt: skip

    def gradient_of_x(self, gradient, kernel, passed):
        """Return the gradient of the images, to which that of their shortcut is added if it is not None."""
        result = torch.empty(self.image, dtype=gradient.dtype, device=gradient.device)
        added = result if passed is None else passed.contiguous()
        grid, constants = (triton.cdiv(self.pixels_in, self.tile),), self.constants | {"IS_ADDED": passed is not None}
        _convolve_back[grid](gradient, kernel, added, result, self.pixels_in, *self.sizes, **constants)
        return result

    def gradient_of_kernel(self, gradient, x):
        each = triton.cdiv(triton.cdiv(self.pixels, self.programs), self.tile_of_sums) * self.tile_of_sums
        programs = triton.cdiv(self.pixels, each)
        shape = self.channels_out, self.kernel_height, self.kernel_width, self.channels_in
        sums = torch.empty(programs, *shape, device=x.device)
        result = torch.empty(shape, dtype=x.dtype, device=x.device)
        constants = self.constants | {"BM": self.tile_of_sums}
        _kernel_sums[(self.kernel_height, programs)](x, gradient, sums, self.pixels, each, *self.sizes, **constants)
        count = result.numel()
        _settle_kernel[(triton.cdiv(count, SETTLED["BC"]),)](sums, result, count, programs, **SETTLED)
        return result.permute(1, 2, 3, 0)


def _block(channels):
    """Return the number of channels that tensor cores multiply at a time; those beyond the real ones are zero."""
    return max(triton.next_power_of_2(channels), 16)


@triton.jit
def _convolve(
    x, kernel, y, means, squares, pixels, tiles, height, width, rows, columns, top, left,
    CI: tl.constexpr, CO: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    STRIDE: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """Write a tile of the result, and its mean and sum of squared deviations for each channel."""
    tile = tl.program_id(0)
    pixel = tile * BM + tl.arange(0, BM)
    is_pixel = pixel < pixels
    column = pixel % columns * STRIDE - left
    line = pixel // columns
    row = line % rows * STRIDE - top
    corner = (line // rows * height + row) * width + column  # where the kernel's first tap reads
    ci = tl.arange(0, BI)
    co = tl.arange(0, BO)
    total = tl.zeros((BM, BO), tl.float32)
    for tap in tl.static_range(KH * KW):
        dy = tap // KW
        dx = tap % KW
        inside = is_pixel & (row + dy >= 0) & (row + dy < height) & (column + dx >= 0) & (column + dx < width)
        place = (corner + dy * width + dx) * CI
        values = tl.load(x + place[:, None] + ci[None, :], mask=inside[:, None] & (ci < CI)[None, :], other=0.0)
        weights = kernel + co[None, :] * (KH * KW * CI) + tap * CI + ci[:, None]
        total = tl.dot(values, tl.load(weights, mask=(ci < CI)[:, None] & (co < CO)[None, :], other=0.0), total)
    written = is_pixel[:, None] & (co < CO)[None, :]
    rounded = total.to(y.dtype.element_ty)
    tl.store(y + pixel[:, None] * CO + co[None, :], rounded, mask=written)
    # Moments of what was written, not of the sums before rounding: the norm reads what was written.
    values = tl.where(is_pixel[:, None], rounded.to(tl.float32), 0.0)
    count = tl.minimum(pixels - tile * BM, BM).to(tl.float32)
    mean = tl.sum(values, 0) / count
    gaps = tl.where(is_pixel[:, None], values - mean[None, :], 0.0)
    tl.store(means + co * tiles + tile, mean, mask=co < CO)
    tl.store(squares + co * tiles + tile, tl.sum(gaps * gaps, 0), mask=co < CO)


@triton.jit
def _convolve_back(
    gradient, kernel, added, result, pixels, height, width, rows, columns, top, left,
    CI: tl.constexpr, CO: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    STRIDE: tl.constexpr, BM: tl.constexpr, IS_ADDED: tl.constexpr,
):  # fmt: skip
    """Write a tile of the images' gradient: for each tap, the gradient of the pixel that read this one through it."""
    pixel = tl.program_id(0) * BM + tl.arange(0, BM)
    is_pixel = pixel < pixels
    column = pixel % width + left
    line = pixel // width
    row = line % height + top
    image = line // height
    ci = tl.arange(0, BI)
    co = tl.arange(0, BO)
    total = tl.zeros((BM, BI), tl.float32)
    for tap in tl.static_range(KH * KW):
        y = row - tap // KW
        x = column - tap % KW
        is_read = is_pixel & (y >= 0) & (x >= 0) & (y // STRIDE < rows) & (x // STRIDE < columns)
        if STRIDE > 1:
            is_read = is_read & (y % STRIDE == 0) & (x % STRIDE == 0)
        place = ((image * rows + y // STRIDE) * columns + x // STRIDE) * CO
        values = tl.load(gradient + place[:, None] + co[None, :], mask=is_read[:, None] & (co < CO)[None, :], other=0.0)
        weights = kernel + co[:, None] * (KH * KW * CI) + tap * CI + ci[None, :]
        total = tl.dot(values, tl.load(weights, mask=(co < CO)[:, None] & (ci < CI)[None, :], other=0.0), total)
    place = pixel[:, None] * CI + ci[None, :]
    written = is_pixel[:, None] & (ci < CI)[None, :]
    if IS_ADDED:
        total += tl.load(added + place, mask=written, other=0.0).to(tl.float32)
    tl.store(result + place, total.to(result.dtype.element_ty), mask=written)


@triton.jit
def _kernel_sums(
    x, gradient, sums, pixels, each, height, width, rows, columns, top, left,
    CI: tl.constexpr, CO: tl.constexpr, BI: tl.constexpr, BO: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr,
    STRIDE: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """Write the gradient of one row of the kernel, one or three taps, as far as it comes from this program's `each` pixels."""
    dy = tl.program_id(0)
    program = tl.program_id(1)
    ci = tl.arange(0, BI)
    co = tl.arange(0, BO)
    first = program * each
    last = tl.minimum(first + each, pixels)
    total_0 = tl.zeros((BI, BO), tl.float32)
    total_1 = tl.zeros((BI, BO), tl.float32)
    total_2 = tl.zeros((BI, BO), tl.float32)
    for start in range(first, last, BM):
        pixel = start + tl.arange(0, BM)
        is_pixel = pixel < last
        column = pixel % columns * STRIDE - left
        line = pixel // columns
        row = line % rows * STRIDE - top + dy
        is_pixel_row = is_pixel & (row >= 0) & (row < height)
        place = ((line // rows * height + row) * width + column) * CI
        slopes = tl.load(gradient + pixel[:, None] * CO + co[None, :], mask=is_pixel[:, None] & (co < CO)[None, :], other=0.0)
        total_0 = tl.dot(_neighbours(x, place, is_pixel_row, column, width, ci, 0, CI), slopes, total_0)
        if KW == 3:
            total_1 = tl.dot(_neighbours(x, place, is_pixel_row, column, width, ci, 1, CI), slopes, total_1)
            total_2 = tl.dot(_neighbours(x, place, is_pixel_row, column, width, ci, 2, CI), slopes, total_2)
    written = (ci < CI)[:, None] & (co < CO)[None, :]
    place = sums + ((program * CO + co[None, :]) * KH + dy) * (KW * CI) + ci[:, None]
    tl.store(place, total_0, mask=written)
    if KW == 3:
        tl.store(place + CI, total_1, mask=written)
        tl.store(place + 2 * CI, total_2, mask=written)


@triton.jit
def _neighbours(x, place, is_pixel, column, width, ci, dx: tl.constexpr, CI: tl.constexpr):
    """Return the channels `(C_in, pixels)` that stand `dx` columns behind each place."""
    inside = is_pixel & (column + dx >= 0) & (column + dx < width)
    return tl.load(x + (place + dx * CI)[None, :] + ci[:, None], mask=inside[None, :] & (ci < CI)[:, None], other=0.0)


@triton.jit
def _settle_kernel(sums, result, count, programs, BQ: tl.constexpr, BC: tl.constexpr):
    """Add the programs' sums `(programs, count)` in a fixed order."""
    place = tl.program_id(0) * BC + tl.arange(0, BC)
    total = tl.zeros((BC,), tl.float32)
    for start in range(0, programs, BQ):
        program = start + tl.arange(0, BQ)
        inside = (program < programs)[:, None] & (place < count)[None, :]
        total += tl.sum(tl.load(sums + program[:, None] * count + place[None, :], mask=inside, other=0.0), 0)
    tl.store(result + place, total.to(result.dtype.element_ty), mask=place < count)
