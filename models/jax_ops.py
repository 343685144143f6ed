"""JAX's convolution for the layers, with another kernel gradient on a CPU. In `models/`, only this file imports jax."""

import jax
import jax.numpy as jnp
from jax import lax
from keras import ops

from models.dense_groups import convolve_densely

PIXELS = 8192  # of the output, in one product of matrices: what it reads stays in the cache


def convolve(x, kernel, stride, padding):
    """Convolution of x `(N, H, W, C)` with a kernel `(h, w, C / groups, F)`; padding is "same" or "valid"."""
    if jax.default_backend() != "cpu" or jax.device_count() > 1:  # several devices: the compiler divides batches among them
        return ops.conv(x, kernel, strides=stride, padding=padding, data_format="channels_last")
    around = tuple(lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], (stride, stride), padding.upper()))
    return convolve_densely(lambda x, kernel: _convolve(x, kernel, stride, around), x, kernel)


def _as_xla(x, kernel, stride, around):
    return lax.conv_general_dilated(x, kernel, (stride, stride), around, dimension_numbers=("NHWC", "HWIO", "NHWC"))


_convolve = jax.custom_vjp(_as_xla, nondiff_argnums=(2, 3))


def _forward(x, kernel, stride, around):
    return _as_xla(x, kernel, stride, around), (x, kernel)


def _backward(stride, around, read, upstream):
    x, kernel = read
    _, gradient_of_images = jax.vjp(lambda x: _as_xla(x, kernel, stride, around), x)
    return *gradient_of_images(upstream), _kernel_gradient(x, upstream, kernel.shape[:2], stride, around).astype(kernel.dtype)


_convolve.defvjp(_forward, _backward)


def _kernel_gradient(x, upstream, size, stride, around):
    """Return the kernel's gradient `(h, w, C, F)`: the sum over a few images at a time, so that the cache holds what is read.

    XLA's own is a convolution with a kernel as large as the image. On two cores with batches of 128 images it took up to 16 times
    as long.
    """
    x = jnp.pad(x, ((0, 0), *around, (0, 0)))
    images, height, width, _ = upstream.shape
    few = min(max(PIXELS // (height * width), 1), images)
    whole = images - images % few

    def add(total, pair):
        return total + _taps(pair[0], pair[1], size, stride), None

    rest = _taps(x[whole:], upstream[whole:], size, stride)  # zeros where no image is left
    total, _ = lax.scan(add, rest, tuple(each[:whole].reshape(-1, few, *each.shape[1:]) for each in (x, upstream)))
    return total


def _taps(x, upstream, size, stride):
    """Return the kernel's gradient over images: for each of its places, pixels under it, times the gradients of their sums."""
    height, width = ((n - 1) * stride + 1 for n in upstream.shape[1:3])
    gradients = upstream.reshape(-1, upstream.shape[-1])
    wide = jnp.promote_types(x.dtype, jnp.float32)

    def tap(row, column):
        pixels = x[:, row : row + height : stride, column : column + width : stride].reshape(-1, x.shape[-1])
        return lax.dot_general(pixels, gradients, (((0,), (0,)), ((), ())), preferred_element_type=wide)

    return jnp.stack([jnp.stack([tap(row, column) for column in range(size[1])]) for row in range(size[0])])
