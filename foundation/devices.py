"""Device that torch computes on in this process. Torch is imported only when a function needs it."""

import os


def uses_cuda() -> bool:
    """Return whether Keras puts tensors on a CUDA GPU: if there is one, unless KERAS_TORCH_DEVICE names another device."""
    import torch

    named = os.environ.get("KERAS_TORCH_DEVICE")
    return torch.cuda.is_available() and (not named or torch.device(named).type == "cuda")


def synchronize():
    """Wait until the device has finished its work."""
    if uses_cuda():
        import torch

        torch.cuda.synchronize()


def computes_bfloat16():
    """Return whether the device computes in bfloat16; others emulate it by float32, which takes longer than float32 itself."""
    import torch

    if uses_cuda():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities()
    return has.get("avx512_bf16", False) or has.get("amx_bf16", False)
