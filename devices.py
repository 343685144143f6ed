"""The device that torch computes on in this process. Torch is imported where it is asked."""

import os


def uses_cuda():
    """Whether Keras puts tensors on a GPU by CUDA: where there is one, unless KERAS_TORCH_DEVICE names another device."""
    import torch

    named = os.environ.get("KERAS_TORCH_DEVICE")
    return torch.cuda.is_available() and (not named or torch.device(named).type == "cuda")


def synchronize():
    """Wait until the device has done what it was given."""
    if uses_cuda():
        import torch

        torch.cuda.synchronize()


def emulates_bfloat16():
    """Whether the GPU computes bfloat16 by means of float32, which takes longer than float32 itself."""
    if not uses_cuda():
        return False
    import torch

    return not torch.cuda.is_bf16_supported(including_emulation=False)
