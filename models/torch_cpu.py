"""Our own kernels for a CPU with AVX2, written in C: batch norm with what follows it, Mish and, without AVX512, convolutions.

PyTorch's batch norm, the addition after it and the ReLU each pass over the images, forwards and backwards; here they do so
together. Without AVX512, oneDNN's gradient of a kernel takes 1.1 to 2 times as long as ours, and a convolution of few channels up
to 2.4 times; with AVX512, oneDNN's are faster. Mish takes one pass instead of ten. The C files of `models/cpu_kernels` are
compiled when a network first trains, which takes two seconds, and kept. Without a C compiler PyTorch's own operations serve.
"""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

from foundation.files import private_folder, write_whole

SOURCES = Path(__file__).parent / "cpu_kernels"
FLAGS = ("-O3", "-fopenmp", "-shared", "-fPIC")
KINDS = {torch.float32: "", torch.bfloat16: "_bfloat16"}  # of images; the end of the kernels' names
FILTERS = 16  # a convolution's channels, those of its result, are a multiple of it
LARGEST_KERNEL = 9 * 64 * 64  # numbers of a kernel of our own convolution; above it, oneDNN's is faster
ELEMENTS = 1 << 15  # of images, that are worth a thread
PARTS = 8  # of the images, for each thread: a core that others keep busy takes fewer of them
PIXELS = 256  # of the result, at least, in a part of which the gradient of a kernel is taken


class Vectors(NamedTuple):
    """Vector registers of a CPU, and our kernels for them."""

    lanes: int  # float32 numbers in a register; channels are a multiple of it
    flags: tuple[str, ...]  # of the compiler
    kernels: tuple[str, ...]  # those that are faster than PyTorch's operations


ALL = tuple(f"{name}{kind}" for name in ("norm", "mish") for kind in KINDS.values())  # for registers of any width
VECTORS = {
    "AVX2": Vectors(8, ("-mavx2", "-mfma"), (*ALL, "convolution")),
    "AVX512": Vectors(
        16,
        ("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mfma", "-mprefer-vector-width=512"),
        ALL,
    ),
}


@functools.cache
def library() -> Any:
    """Return the compiled kernels; None where they are not faster, or with a note where the compiler fails."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    vectors = vectors_here()
    if sys.platform != "linux" or not vectors.kernels or compiler is None:
        return None
    try:
        kernels = ctypes.CDLL(_compile(compiler, vectors))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"note: PyTorch's operations serve, which are slower: our kernels can't be compiled here ({error})", flush=True)
        return None
    tensor, number, whole = ctypes.c_void_p, ctypes.c_double, ctypes.c_long
    for kind in KINDS.values():
        getattr(kernels, f"norm_forward{kind}").argtypes = [tensor] * 12 + [whole] * 2 + [number] * 2 + [whole] * 2
        getattr(kernels, f"norm_backward{kind}").argtypes = [tensor] * 12 + [whole] * 4
        getattr(kernels, f"mish_forward{kind}").argtypes = [tensor] * 2 + [whole] * 2
        getattr(kernels, f"mish_backward{kind}").argtypes = [tensor] * 3 + [whole] * 2
        getattr(kernels, f"norm_at_inference{kind}").argtypes = [tensor] * 8 + [whole] * 2 + [number] + [whole] * 2
    if "convolution" in vectors.kernels:
        kernels.convolve.argtypes = kernels.kernel_gradient.argtypes = [tensor] * 4 + [whole] * 14
    return kernels


def vectors_here() -> Vectors:
    """Return the registers of this CPU, as PyTorch knows them; without kernels if we have none for them."""
    return VECTORS.get(torch.backends.cpu.get_cpu_capability(), Vectors(1, (), ()))


def _compile(compiler, vectors):
    """Return the path of the shared library, which is compiled unless it is there for these sources and flags."""
    sources, flags = sorted(SOURCES.iterdir()), (*FLAGS, *vectors.flags)
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources) + " ".join(flags).encode()).hexdigest()
    folder, name = private_folder(), f"kernels-{key[:16]}.so"
    if not os.path.exists(os.path.join(folder, name)):
        with tempfile.TemporaryDirectory() as temporary:
            built = os.path.join(temporary, name)
            command = [compiler, *flags, *(SOURCES / f"{name}.c" for name in vectors.kernels), "-o", built, "-lm"]
            subprocess.run(command, check=True, capture_output=True)
            write_whole(folder, name, Path(built).read_bytes())
    return os.path.join(folder, name)


def _call(name, *arguments):
    """Call a kernel with tensors, None in a tensor's place, and numbers."""
    return getattr(library(), name)(*(each.data_ptr() if isinstance(each, torch.Tensor) else each for each in arguments))


def _threads(x):
    return min(torch.get_num_threads(), 1 + x.numel() // ELEMENTS)


def has_kernels(x) -> bool:
    """Return whether our batch norm and Mish are faster than torch's operations for images `(N, H, W, C)`."""
    serves = x.device.type == "cpu" and x.dtype in KINDS and x.shape[-1] % vectors_here().lanes == 0
    return serves and library() is not None


class BatchNorm(torch.autograd.Function):
    """`models.torch_batch_norm.BatchNorm` on a CPU: batch norm in training, the addition of a residual and a ReLU.

    Convolutions here take no `moments`, which are None.
    """

    @staticmethod
    def forward(
        context, x, gamma, beta, moving_mean, moving_variance, momentum, epsilon, residual=None, is_activated=False, _moments=None
    ):
        x, channels, threads = x.contiguous(), x.shape[-1], _threads(x)
        added, y = None if residual is None else residual.contiguous(), torch.empty_like(x)
        constants = torch.empty(4, channels)  # mean, inverse deviation, scale and shift
        _call(
            f"norm_forward{KINDS[x.dtype]}", x, added, y, gamma, beta, moving_mean, moving_variance, *constants,
            _room(channels, threads), x.numel() // channels, channels, momentum, epsilon, is_activated, threads,
        )  # fmt: skip
        # Where nothing was added, x tells the sign of y, and y is not read again.
        context.save_for_backward(x, constants, *([y] if is_activated and residual is not None else []))
        context.is_activated, context.is_added = is_activated, residual is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(context, gradient):
        x, constants, *result = context.saved_tensors
        channels, threads, gradient = x.shape[-1], _threads(x), gradient.contiguous()
        y, entered = (result[0], torch.empty_like(x)) if result else (None, gradient)
        to_x, (to_gamma, to_beta) = torch.empty_like(x), torch.empty(2, channels)
        _call(
            f"norm_backward{KINDS[x.dtype]}", gradient, x, y, entered, to_x, to_gamma, to_beta, *constants,
            _room(channels, threads), x.numel() // channels, channels, context.is_activated, threads,
        )  # fmt: skip
        return to_x, to_gamma, to_beta, None, None, None, None, entered if context.is_added else None, None, None


def batch_norm_at_inference(x, gamma, beta, mean, variance, epsilon, residual=None, is_activated=False):
    """Return batch norm by given statistics, with the addition of a residual and a ReLU; it keeps nothing for a gradient."""
    x, channels, threads = x.contiguous(), x.shape[-1], _threads(x)
    added, y = None if residual is None else residual.contiguous(), torch.empty_like(x)
    _call(
        f"norm_at_inference{KINDS[x.dtype]}", x, added, y, gamma, beta, mean, variance, _room(channels, 0),
        x.numel() // channels, channels, epsilon, is_activated, threads,
    )  # fmt: skip
    return y


def _room(channels, threads):
    """Return room for the rows of sums and of constants that the kernels of batch norm work with.

    Where channels are few, a row is that of several pixels: as many numbers as four registers hold.
    """
    return torch.empty(2 * threads + 5, max(channels, 4 * vectors_here().lanes))


class Mish(torch.autograd.Function):
    """`F.mish`."""

    @staticmethod
    def forward(context, x):
        x = x.contiguous()
        context.save_for_backward(x)
        y = torch.empty_like(x)
        _call(f"mish_forward{KINDS[x.dtype]}", x, y, x.numel(), _threads(x))
        return y

    @staticmethod
    @once_differentiable
    def backward(context, gradient):
        (x,) = context.saved_tensors
        result = torch.empty_like(x)
        _call(f"mish_backward{KINDS[x.dtype]}", x, gradient.contiguous(), result, x.numel(), _threads(x))
        return result


def has_convolution(x, kernel) -> bool:
    """Return whether `Convolution` is faster than torch's for images `(N, H, W, C_in)` and a kernel `(kh, kw, C_in, C_out)`."""
    serves = x.device.type == "cpu" and x.dtype == torch.float32 and "convolution" in vectors_here().kernels
    return serves and kernel.shape[3] % FILTERS == 0 and library() is not None


class Convolution(torch.autograd.Function):
    """Convolution of images `(N, H, W, C_in)` with a kernel `(kh, kw, C_in, C_out)`, as `F.conv2d` with a padding `(top, left)`.

    Where kernels have many channels, all but their gradients is left to oneDNN.
    """

    @staticmethod
    def forward(context, x, kernel, stride, padding):
        x = x.contiguous()
        kernel = kernel.permute(3, 0, 1, 2).contiguous()  # C_out, kh, kw, C_in, as in a trained network's memory
        context.save_for_backward(x, kernel)
        context.layout = stride, padding
        if kernel.numel() > LARGEST_KERNEL:
            return F.conv2d(x.permute(0, 3, 1, 2), kernel.permute(0, 3, 1, 2), None, stride, padding).permute(0, 2, 3, 1)
        sizes = zip(x.shape[1:3], kernel.shape[1:3], padding, strict=True)
        return convolve(x, kernel, stride, padding, [(size + 2 * zeros - taps) // stride + 1 for size, taps, zeros in sizes])

    @staticmethod
    @once_differentiable
    def backward(context, gradient):
        x, kernel = context.saved_tensors
        stride, padding = context.layout
        needs_images, needs_kernel, *_ = context.needs_input_grad
        gradient, of_images, of_kernel = gradient.contiguous(), None, None
        if needs_images:
            of_images = gradient_of_images(gradient, kernel, stride, padding, x.shape)
        if needs_kernel:
            of_kernel = gradient_of_kernel(x, gradient, kernel.shape, stride, padding).permute(1, 2, 3, 0)
        return of_images, of_kernel, None, None


def convolve(x, kernel, stride, padding, size):
    """Return the convolution `(N, *size, C_out)` of `x` with a kernel `(C_out, kh, kw, C_in)`.

    `padding` is the rows above the images, and the columns left of them, that are zero; so are those behind, as far as needed.
    """
    y = torch.empty(len(x), *size, len(kernel))
    geometry = *x.shape, *y.shape[1:], *kernel.shape[1:3], stride, *padding
    _convolve("convolve", x, kernel, y, torch.empty_like(kernel), *geometry, _threads(x), min(PARTS * _threads(x), len(x)))
    return y


def gradient_of_images(gradient, kernel, stride, padding, shape):
    """Return the gradient of images of a shape: with stride 1, the convolution of `gradient` with the kernel turned round."""
    _, height, width, channels = kernel.shape
    if stride > 1 or kernel.numel() > LARGEST_KERNEL or channels % FILTERS:
        gradient, kernel = (each.permute(0, 3, 1, 2) for each in (gradient, kernel))
        images = shape[0], channels, *shape[1:3]
        return conv2d_input(images, kernel, gradient, stride, padding).permute(0, 2, 3, 1)
    turned = kernel.flip(1, 2).permute(3, 1, 2, 0).contiguous()
    return convolve(gradient, turned, 1, (height - 1 - padding[0], width - 1 - padding[1]), shape[1:3])


def gradient_of_kernel(x, gradient, shape, stride, padding):
    """Return the gradient of a kernel of the shape `(C_out, kh, kw, C_in)` for that of its convolution of x."""
    result, threads = torch.empty(shape), _threads(x)
    parts = threads * (PARTS if result.numel() <= LARGEST_KERNEL else 1)  # each has sums of its own, which are added in the end
    parts = max(min(parts, len(x), len(x) * gradient.shape[1] * gradient.shape[2] // PIXELS), 1)
    geometry = *x.shape, *gradient.shape[1:], *shape[1:3], stride, *padding
    _convolve("kernel_gradient", x, gradient, result, torch.empty(parts, *shape), *geometry, threads, parts)
    return result


def _convolve(name, *arguments):
    if _call(name, *arguments):
        raise MemoryError("no memory for a convolution")
