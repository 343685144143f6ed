"""Arrays of the host, and tensors on the device that a network is trained on."""

import numpy as np
from keras import ops

from foundation import backend, devices


def is_host_the_device() -> bool:
    """Return whether the backend computes on the CPU, in whose memory numpy's arrays lie already."""
    return "cpu" in str(ops.zeros(1).device).lower()


def to_device(array):
    """Return an array as a tensor.

    On a GPU of torch the copy is not waited for: it starts once what the GPU was given before is done, while the host goes on.
    """
    if backend.name() != "torch" or not devices.uses_cuda():
        return ops.convert_to_tensor(array)
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).pin_memory().cuda(non_blocking=True)
