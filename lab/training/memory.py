"""Memory of training: freed memory stays with the process for the next step; errors for too little memory."""

import ctypes
import sys

import keras

from foundation.errors import RunFailure
from lab.training.backends import FREES_MEMORY
from lab.training.chosen import with_batch_size

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # the names of mallopt(3)


def keep_freed_memory():
    """Ask the C library not to return large freed blocks to the system; do nothing if it can't be asked.

    By default glibc maps every tensor above some size anew and unmaps it when it is freed, so its pages fault in again at every
    step: about a tenth of the time of a step of ResNet-20 on two cores.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        mallopt(TOP_PAD, 64 << 20)


# Backends' messages about it; each has an exception of its own, or none. (A primitive is what oneDNN computes with on a CPU.)
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "RESOURCE_EXHAUSTED", "OOM when allocating", "bad_alloc")
OUT_OF_MEMORY += ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
OUT_OF_MEMORY += ("could not create a primitive", "could not create a memory")


def is_out_of_memory(error) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def within_memory(work, config, run, dataset, model):
    """Return the result of `work`, which trains the model.

    If memory runs out, raise a RunFailure that names a batch that fits.
    """
    try:
        return work(config, run, dataset, model)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # The exception kept the failed step's tensors alive. It is gone here, so their memory can be released for a smaller batch.
    model.release_memory()
    batch_size = with_batch_size(config, len(dataset.train)).batch_size
    fitting = batch_that_fits(model, dataset.image_shape, batch_size)
    advice = f"{fitting} fits here" if fitting else "try a smaller one"
    raise RunFailure(f"out of memory with batch_size {batch_size}: {advice}")


def batch_that_fits(model, image_shape, batch_size):
    """Return the largest half, quarter, ... of a batch size whose gradients can be computed now, by trying; None if none fits.

    Only torch is tried: its memory is free again after an attempt.
    """
    while batch_size > 2 and FREES_MEMORY:
        batch_size //= 2
        try:
            model(keras.ops.zeros((batch_size, *image_shape)), training=True).sum().backward()
            return batch_size
        except Exception as error:
            if not is_out_of_memory(error):
                raise
    return None
