"""Backends in training: the one file of this room that asks which backend computes."""

import os

import keras

from foundation import backend, devices
from foundation.errors import UserError
from foundation.stopwatch import seconds_of

HAS_OWN_STEP = backend.name() == "torch"  # its train step is `lab.training.torch_step`; the others run Keras' own
KEEPS_TRACES = backend.name() == "tensorflow"  # its train functions are traced once for each shape of batches
FREES_MEMORY = backend.name() == "torch"  # after an attempt that ran out of memory, another can be made


def for_backend(torch, jax, tensorflow):
    """Return the argument that is named as the backend."""
    return {"torch": torch, "jax": jax, "tensorflow": tensorflow}[backend.name()]


def jit_compile():
    """Return whether XLA compiles the step: not on a CPU under TensorFlow, whose own kernels take 0.6 of the time there."""
    return "auto" if not KEEPS_TRACES or keras.distribution.list_devices("gpu") else False


def choose_kernels(deterministic):
    """Choose repeatable operations, or on a GPU the fastest that cuDNN finds by trying. Call it before anything is computed."""
    if deterministic:
        make_deterministic()
    elif backend.name() == "torch":
        import torch

        torch.backends.cudnn.benchmark = True


def make_deterministic():
    """Ask the backend for operations that give the same bits every time. Call it before anything is computed.

    On a CPU, torch's and XLA's do so anyway, with the same number of threads.
    """
    for_backend(_deterministic_torch, _deterministic_jax, _deterministic_tensorflow)()


def _deterministic_torch():
    if devices.uses_cuda():
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may add in any order
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]  of the module
        torch.backends.cudnn.benchmark = False


def _deterministic_jax():
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()


def _deterministic_tensorflow():
    import tensorflow

    tensorflow.config.experimental.enable_op_determinism()


def fewest_bfloat16_pixels(on_cpu):
    """Return the pixels that a batch needs for bfloat16 to be faster than float32 on the device of this process.

    Infinite if it never is. `on_cpu` is that number for a CPU that computes in bfloat16. On jax and TensorFlow, only GPUs of
    compute capability 8 or more do, the first that know bfloat16.
    """
    return for_backend(_fewest_on_torch, _fewest_on_jax, _fewest_on_tensorflow)(on_cpu)


def _fewest_on_torch(on_cpu):
    if not devices.computes_bfloat16():
        return float("inf")
    return 0 if devices.uses_cuda() else on_cpu


def _fewest_on_jax(_):
    import jax

    capabilities = [getattr(device, "compute_capability", None) for device in jax.devices()]
    return 0 if all(capability and float(capability) >= 8 for capability in capabilities) else float("inf")


def _fewest_on_tensorflow(_):
    import tensorflow

    gpus = tensorflow.config.list_physical_devices("GPU")
    found = [tensorflow.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
    return 0 if found and min(found) >= (8, 0) else float("inf")


def emulates_bfloat16() -> bool:
    """Return whether the device computes bfloat16 by float32, which only torch tells."""
    return backend.name() == "torch" and not devices.computes_bfloat16()


def check_bfloat16():
    """Raise a UserError if TensorFlow computes no bfloat16 on this processor: its kernels refuse it without AVX-512."""
    if backend.name() != "tensorflow":
        return
    import tensorflow

    image, kernel = (tensorflow.ones(shape, "bfloat16") for shape in ((1, 4, 4, 8), (3, 3, 8, 8)))
    try:
        tensorflow.nn.conv2d(image, kernel, 1, "SAME")
    except tensorflow.errors.OpError as error:
        raise UserError("tensorflow computes no bfloat16 on this processor, allowed here: --precision float32") from error


def bfloat16_slowdown() -> float:
    """Return how many times as long as in float32 a convolution and its gradients take in bfloat16 here, measured on torch."""
    import torch

    def seconds(dtype):
        images = torch.ones(32, 16, 32, 32, dtype=dtype, device=device, requires_grad=True)
        kernel = torch.ones(16, 16, 3, 3, dtype=dtype, device=device, requires_grad=True)

        def step():
            torch.nn.functional.conv2d(images, kernel, padding=1).sum().backward()

        step()  # warms up
        return min(seconds_of(step, wait=devices.synchronize) for _ in range(3))

    device = "cuda" if devices.uses_cuda() else "cpu"
    return seconds(torch.bfloat16) / seconds(torch.float32)
