"""Device that torch computes on in this process. Torch is imported only when a function needs it."""

import os


def uses_cuda():
    """Return whether Keras puts tensors on a CUDA GPU: if there is one, unless KERAS_TORCH_DEVICE names another device."""
    import torch

    named = os.environ.get("KERAS_TORCH_DEVICE")
    return torch.cuda.is_available() and (not named or torch.device(named).type == "cuda")


def synchronize():
    """Wait until the device has finished its work."""
    if uses_cuda():
        import torch

        torch.cuda.synchronize()


def emulates_bfloat16():
    """Return whether the GPU emulates bfloat16 by float32, which takes longer than float32 itself."""
    if not uses_cuda():
        return False
    import torch

    return not torch.cuda.is_bf16_supported(including_emulation=False)
