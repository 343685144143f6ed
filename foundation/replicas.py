"""Devices that train one network together: processes that `torchrun` starts, and on jax also the devices of one process.

Every device holds the whole network and computes its share of each batch. On torch a process has one device, and this file
computes shares and sums. On jax each process gets whole batches, and the compiler divides them among all devices. With one
device these functions do nothing.
"""

import contextlib
import os
import pickle
import sys
from datetime import timedelta
from typing import Any

import numpy as np

from foundation import backend, devices
from foundation.errors import RunFailure, UserError
from foundation.scripts import speak_only_if

PROCESSES = int(os.environ.get("WORLD_SIZE", "1"))
RANK = int(os.environ.get("RANK", "0"))  # number of this process, from 0; only process 0 writes
LOCAL_RANK = int(os.environ.get("LOCAL_RANK", "0"))  # number of this process on its machine
DIVIDED_BY = backend.traits().batches_divided_by
NUM_SHARDS = PROCESSES if DIVIDED_BY == "processes" else 1  # shards that a batch is divided into
SHARD_INDEX = RANK if NUM_SHARDS > 1 else 0  # the shard of this process
PATIENCE = timedelta(hours=2)  # time to wait for the first process of a machine, which may have images to decode
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")  # gloo's messages about a process that ended

_distribution: Any = None  # a keras.distribution, if jax has several devices
_store: Any = None  # what the processes of torch share besides tensors


@contextlib.contextmanager
def joined():
    """Join the devices while the block runs; only the first process prints. Raises UserError if they can't be joined."""
    if PROCESSES > 1 and DIVIDED_BY is None:
        raise UserError(
            f"on {backend.name()} a run has one process and one device; allowed with several: KERAS_BACKEND=torch, jax"
        )
    if DIVIDED_BY == "compiler":
        _join_on_jax()
    elif NUM_SHARDS > 1:
        _join_on_torch()
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere if RANK else sys.stdout):
            yield
    except RuntimeError as error:
        if PROCESSES == 1 or not any(sign in str(error) for sign in LOST):
            raise
        raise RunFailure("another process of this run ended; what was written stands, the same command goes on") from error
    if NUM_SHARDS > 1:
        import torch

        torch.distributed.destroy_process_group()


def _join_on_torch():
    global _store
    import torch

    has_gpu = devices.uses_cuda()
    if has_gpu:
        count = torch.cuda.device_count()
        if not count > LOCAL_RANK:
            raise UserError(f"process {LOCAL_RANK} of this machine has no GPU, allowed: {count} processes, one for each GPU")
        torch.cuda.set_device(LOCAL_RANK)
    # torchrun's store outlives its workers: restarted workers must not read what earlier ones left there.
    store, _, _ = next(torch.distributed.rendezvous("env://", timeout=PATIENCE))
    attempt = f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)} of {PROCESSES} processes"
    _store = torch.distributed.PrefixStore(attempt, store)
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if has_gpu else "gloo",
        store=_store,
        rank=RANK,
        world_size=PROCESSES,
        timeout=PATIENCE,
    )
    speak_only_if(_is_first_to_ask)  # one process alone prints the error that ended all


def _join_on_jax():
    global _distribution
    import keras

    if PROCESSES > 1:  # torchrun itself listens at MASTER_PORT
        coordinator = f"{os.environ['MASTER_ADDR']}:{int(os.environ['MASTER_PORT']) + 1}"
        keras.distribution.initialize(coordinator, PROCESSES, RANK)
    if len(keras.distribution.list_devices()) > 1:
        _distribution = keras.distribution.DataParallel(auto_shard_dataset=False)


def on_all_devices():
    """Return a context in which variables are made on all devices of jax, if there are several."""
    # Not for a whole run: Keras would then require every batch to be divisible by the number of devices.
    return _distribution.scope() if _distribution else contextlib.nullcontext()


def shard(rows):
    """Divide the rows of an array among jax's devices, or copy all if they don't divide evenly. Elsewhere return the array."""
    if _distribution is None:
        return rows
    is_even = len(rows) % _distribution.device_mesh.devices.size == 0
    return _placed(rows, _distribution.batch_dim_name if is_even else None)


def replicate(array):
    """Copy the array to each of jax's devices. Elsewhere return the array."""
    return array if _distribution is None else _placed(array, None)


def readable(rows):
    """Replicate rows so that every process can read results computed from them (jax with several processes)."""
    return replicate(rows) if PROCESSES > NUM_SHARDS else rows


def _placed(array, first_axis):
    import jax
    from keras.distribution import TensorLayout

    layout = TensorLayout([first_axis] + [None] * (array.ndim - 1), _distribution.device_mesh)
    return jax.device_put(array, layout.backend_layout)


@contextlib.contextmanager
def local_rank_zero_first():
    """Run the block in the first process of every machine, then in the others, which find what the first one made.

    On jax all processes run it together, because all of them make variables at the same time. An error in one process is raised
    in all of them.
    """
    if PROCESSES == 1:
        yield
        return
    fault = None
    gather(None)  # a barrier: after it, everything that the first process wrote before is there
    in_turns = DIVIDED_BY == "processes"
    if in_turns and LOCAL_RANK:
        gather(None)
    try:
        yield
    except UserError as error:
        fault = error
    if in_turns and not LOCAL_RANK:
        gather(None)
    for rank, found in enumerate(gather(fault and (str(fault), fault.exit_code))):
        if found:
            text, exit_code = found
            error = UserError(f"process {rank}: {text}" if rank else text)
            error.exit_code = exit_code
            raise error from fault


def share_of(count):
    """Return this process's part of the places 0 to count - 1, as a slice. The parts of all processes hold each place once."""
    return slice(count * SHARD_INDEX // NUM_SHARDS, count * (SHARD_INDEX + 1) // NUM_SHARDS)


def gather(thing) -> list:
    """Return the `thing` of every process, as a list by rank."""
    if PROCESSES == 1:
        return [thing]
    if DIVIDED_BY == "processes":
        import torch

        things: list = [None] * PROCESSES
        torch.distributed.all_gather_object(things, thing)
        return things
    from jax.experimental.multihost_utils import process_allgather

    data = np.frombuffer(pickle.dumps(thing), "uint8")
    lengths = process_allgather(np.array([len(data)]))[:, 0]
    rows = process_allgather(np.pad(data, (0, lengths.max() - len(data))))
    return [pickle.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]


def gather_rows(rows):
    """Return the rows `(n, ...)` of all shares, in their order."""
    return np.concatenate(gather(rows)) if NUM_SHARDS > 1 else rows


def all_reduce_max(*numbers):
    """Return, for each whole number, the highest value among the processes."""
    return tuple(map(max, zip(*gather(numbers), strict=True)))


def all_reduce_sum(tensors):
    """Add to each float32 tensor of torch its values in the other processes, in place, all in one message."""
    import torch

    flat = torch.cat([tensor.flatten() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(list(tensors), [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)])


def _is_first_to_ask():
    with contextlib.suppress(RuntimeError):  # the store is gone with the machine that held it
        return _store.add("spoken", 1) == 1
    return True
