"""Devices that train one network together: processes as `torchrun` starts them, and on jax also the devices of one process.

Every device holds the whole network and computes its share of each batch. On torch a process has one device, and shares and
sums are made here; on jax each process is given whole batches, and the compiler divides them among all devices. Where there
is one device, nothing here does anything.
"""

import contextlib
import os
import pickle
import sys
from datetime import timedelta

import numpy as np

import devices
import errors
from errors import RunFailure, UserError

BACKEND = os.environ.get("KERAS_BACKEND", "torch")
PROCESSES = int(os.environ.get("WORLD_SIZE", "1"))
RANK = int(os.environ.get("RANK", "0"))  # of this process, from 0; the first alone writes
LOCAL_RANK = int(os.environ.get("LOCAL_RANK", "0"))  # of this process on its machine
SHARES = PROCESSES if BACKEND == "torch" else 1  # of a batch
SHARE = RANK if SHARES > 1 else 0  # this process's
PATIENCE = timedelta(hours=2)  # for the first process of a machine, which may have images to decode
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")  # what gloo says of a process that ended

_distribution = None  # keras.distribution's, of several devices on jax


@contextlib.contextmanager
def joined():
    """Joins the devices while the block runs; all processes but the first are silent. Raises UserError where that can't be."""
    if PROCESSES > 1 and BACKEND == "tensorflow":
        raise UserError("on tensorflow a run has one process and one device; allowed with several: KERAS_BACKEND=torch, jax")
    if BACKEND == "jax":
        _join_on_jax()
    elif SHARES > 1:
        _join_on_torch()
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere if RANK else sys.stdout):
            yield
    except RuntimeError as error:
        if PROCESSES == 1 or not any(sign in str(error) for sign in LOST):
            raise
        raise RunFailure("another process of this run ended; what was written stands, the same command goes on") from error
    if SHARES > 1:
        import torch

        torch.distributed.destroy_process_group()


def _join_on_torch():
    import torch

    has_gpu = devices.uses_cuda()
    if has_gpu:
        count = torch.cuda.device_count()
        if not count > LOCAL_RANK:
            raise UserError(f"process {LOCAL_RANK} of this machine has no GPU, allowed: {count} processes, one for each GPU")
        torch.cuda.set_device(LOCAL_RANK)
    # torchrun's store outlives its workers: started again, they must not meet what those before them left there.
    store, _, _ = next(torch.distributed.rendezvous("env://", timeout=PATIENCE))
    attempt = f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)} of {PROCESSES} processes"
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if has_gpu else "gloo",
        store=torch.distributed.PrefixStore(attempt, store),
        rank=RANK,
        world_size=PROCESSES,
        timeout=PATIENCE,
    )
    errors.may_speak = _is_first_to_ask  # of what ended one of them and thereby all


def _join_on_jax():
    global _distribution
    import keras

    if PROCESSES > 1:  # torchrun itself listens at its port
        coordinator = f"{os.environ['MASTER_ADDR']}:{int(os.environ['MASTER_PORT']) + 1}"
        keras.distribution.initialize(coordinator, PROCESSES, RANK)
    if len(keras.distribution.list_devices()) > 1:
        _distribution = keras.distribution.DataParallel(auto_shard_dataset=False)


def on_all_devices():
    """While this lasts, variables are made on all devices of jax, where there are several."""
    # Not for all of a run: Keras would want every batch to be divisible by the number of devices.
    return _distribution.scope() if _distribution else contextlib.nullcontext()


def spread(rows):
    """On jax the rows of an array divided among the devices (all rows on each where they can't be), elsewhere the array."""
    if _distribution is None:
        return rows
    is_even = len(rows) % _distribution.device_mesh.devices.size == 0
    return _placed(rows, _distribution.batch_dim_name if is_even else None)


def copied(array):
    """On jax the array on each device, elsewhere the array."""
    return array if _distribution is None else _placed(array, None)


def readable(rows):
    """What is computed of these rows, every process can read: on jax with several processes they are copied to each device."""
    return copied(rows) if PROCESSES > SHARES else rows


def _placed(array, first_axis):
    import jax
    from keras.distribution import TensorLayout

    layout = TensorLayout([first_axis] + [None] * (array.ndim - 1), _distribution.device_mesh)
    return jax.device_put(array, layout.backend_layout)


@contextlib.contextmanager
def preparing():
    """Runs the block in the first process of every machine, then in its others, which find made what that has made.

    On jax they run it together, since variables are made by all processes at once. What is wrong in one process is raised
    in all of them.
    """
    if PROCESSES == 1:
        yield
        return
    fault = None
    gather(None)  # what the first process wrote before is there by now
    in_turns = BACKEND == "torch"
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
    """This process's part of the places 0 to count - 1, as a slice: with those of the others, each place once."""
    return slice(count * SHARE // SHARES, count * (SHARE + 1) // SHARES)


def gather(thing):
    """What every process gives, as a list by rank."""
    if PROCESSES == 1:
        return [thing]
    if BACKEND == "torch":
        import torch

        things = [None] * PROCESSES
        torch.distributed.all_gather_object(things, thing)
        return things
    from jax.experimental.multihost_utils import process_allgather

    data = np.frombuffer(pickle.dumps(thing), "uint8")
    lengths = process_allgather(np.array([len(data)]))[:, 0]
    rows = process_allgather(np.pad(data, (0, lengths.max() - len(data))))
    return [pickle.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]


def gather_rows(rows):
    """The rows `(n, ...)` of all shares, in their order."""
    return np.concatenate(gather(rows)) if SHARES > 1 else rows


def highest(*numbers):
    """Of each whole number, the highest that a process gives."""
    return tuple(map(max, zip(*gather(numbers), strict=True)))


def add_up(tensors):
    """Adds to each float32 tensor of torch its values in the other processes, in place, all in one message."""
    import torch

    flat = torch.cat([tensor.flatten() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(list(tensors), [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)])


def _is_first_to_ask():
    import torch

    with contextlib.suppress(RuntimeError):  # the store went with the machine that held it
        return torch.distributed.distributed_c10d._get_default_store().add("spoken", 1) == 1
    return True
