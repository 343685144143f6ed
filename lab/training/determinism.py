"""Runs that can be repeated to the last bit."""

import os

from foundation import backend, devices


def choose_kernels(deterministic):
    """Repeatable operations, or on a GPU the fastest that cuDNN finds by trying; to be called before anything is computed."""
    if deterministic:
        make_deterministic()
    elif backend.name() == "torch":
        import torch

        torch.backends.cudnn.benchmark = True


def make_deterministic():
    """Asks the backend for operations that give the same bits every time; to be called before it computes anything.

    On a CPU, torch's and XLA's do so anyway, with the same number of threads.
    """
    if backend.name() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()
    elif backend.name() == "jax":
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    else:
        import torch

        if devices.uses_cuda():
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may add in any order
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False
            torch.backends.cudnn.benchmark = False
