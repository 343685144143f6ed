"""Checkpoints as transactions: a folder that one rename puts in place, with a manifest that proves it complete.

A checkpoint holds `model.safetensors` (the weights to use: their moving average if the run keeps one), `training.safetensors`
(trained weights under an average, optimizer slots, partial metrics), `state.json` (epoch, step, history, states of callbacks)
and `manifest.json` (size and SHA-256 of the others). Nothing in it is ever executed.
"""

import hashlib
import json
import os
import re
import shutil

import numpy as np
from safetensors.numpy import load, save

from callbacks.averaging import average_of, copy_of
from foundation.errors import UserError, first_line
from foundation.files import parse_json, read_regular, temporary_folder
from lab.runs.contents import fault_of_state

LARGEST = 64 << 30  # maximum bytes of a file of tensors; for other files of a checkpoint it is `files.LARGEST`
NAME = re.compile(r"epoch-(\d{5})(?:-step-(\d{7}))?")


def checkpoint_name(epoch, step) -> str:
    """Return the name of a checkpoint: after 7 epochs `epoch-00007`, 120 steps later `epoch-00007-step-0000120`.

    Names sort in the order of training.
    """
    return f"epoch-{epoch:05d}" + (f"-step-{step:07d}" if step else "")


def write_checkpoint(folder, model, state):
    """Write the model's and optimizer's variables and `state` under `folder`; return the checkpoint's path."""
    weights, training = _tensors(model)
    files = {
        "model.safetensors": save(weights),
        "training.safetensors": save(training),
        "state.json": json.dumps(state).encode(),
    }
    manifest = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    files["manifest.json"] = json.dumps(manifest, indent=1).encode()
    target = folder / checkpoint_name(state["epoch"], state["step"])
    with temporary_folder(folder) as work:
        for name, data in files.items():
            write_through(work / name, data)
        if target.exists():
            set_aside(target)
        os.rename(work, target)
    flush_folder(folder)
    return target


def write_through(path, data):
    """Write bytes and wait until they are on the disk."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(folder):
    """Make renames within a folder survive a power cut, if the system can flush folders."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def set_aside(path):
    """Rename a checkpoint that must be neither used nor lost to `damaged-...`."""
    for number in range(1000):
        aside = path.with_name(f"damaged-{path.name}" + (f"-{number}" if number else ""))
        if not aside.exists():
            os.rename(path, aside)
            return aside
    raise UserError(f"too many damaged checkpoints beside {path}")


def discard(paths):
    """Remove checkpoints that are no longer needed; one that can't be removed stays."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def list_checkpoints(folder):
    """Return the checkpoints of a run, oldest first."""
    found = (path for path in folder.iterdir() if NAME.fullmatch(path.name)) if folder.is_dir() else ()
    return sorted(found, key=lambda path: path.name)


def read_checkpoint(path):
    """Return the files of a checkpoint as bytes by name, checked against its manifest. Raises ValueError if it is damaged."""
    try:
        manifest = parse_json(read_regular(path / "manifest.json"))
        files = {name: read_regular(path / name, LARGEST) for name in ("model.safetensors", "training.safetensors")}
        files["state.json"] = read_regular(path / "state.json")
        for name, data in files.items():
            if hashlib.sha256(data).hexdigest() != manifest[name]["sha256"]:
                raise ValueError(f"{name} is not what was written")
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return files


def newest_whole(folder, last_epoch=None, sets_aside=False):
    """Return (path, files) of the newest undamaged checkpoint at or before the end of `last_epoch`; None if there is none.

    A damaged one is named on standard output and skipped. The run's writer sets it aside. A process that only looks at a run
    changes nothing: what seems damaged may be a checkpoint that a training is just discarding.
    """
    for path in reversed(list_checkpoints(folder)):
        if last_epoch is not None and path.name > checkpoint_name(last_epoch, 0):
            continue
        try:
            return path, read_checkpoint(path)
        except ValueError as error:
            fate = f"set aside as {set_aside(path).name}" if sets_aside else "passed over"
            print(f"checkpoint {path} is damaged ({error}); {fate}", flush=True)
    return None


def read_state(files, needs=()):
    """Return the state in a checkpoint. Raises UserError if it is damaged or lacks a part in `needs`."""
    try:
        state = parse_json(files["state.json"])
    except ValueError as error:
        raise UserError(f"a checkpoint's state.json can't be read: {error}") from error
    if fault := fault_of_state(state, needs):
        raise UserError(f"a checkpoint's state.json is damaged: {fault}")
    return state


def read_tensors(data, what="a checkpoint"):
    """Return the tensors of a safetensors file's bytes, arrays by name, of finite real numbers. Raises UserError for all else."""
    try:
        tensors = load(data)
    except Exception as error:  # invalid headers raise SafetensorError, KeyError, ValueError, OverflowError or MemoryError
        raise UserError(f"the tensors of {what} can't be read: {type(error).__name__}: {first_line(error)}") from error
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in "biuf":
            raise UserError(f"tensor {name[:200]!r} of {what} is of type {tensor.dtype}, allowed: real numbers")
        with np.errstate(over="ignore"):
            is_finite = np.isfinite(tensor.astype("float32") if tensor.dtype.itemsize > 4 else tensor).all()
        if not is_finite:
            raise UserError(f"tensor {name[:200]!r} of {what} holds values that are not finite")
    return tensors


def restore_training(model, files):
    """Restore the variables of the model and its optimizer from a checkpoint. Raises UserError if it holds other variables."""
    weights, training = read_tensors(files["model.safetensors"]), read_tensors(files["training.safetensors"])
    put_weights(model, weights | {k.removeprefix("model/"): v for k, v in training.items() if k.startswith("model/")})
    for i, variable in enumerate(model.optimizer.variables):
        value = training.get(f"optimizer/{variable.name}", training.get(f"optimizer/{i:04d}"))  # version 0.1 numbered them
        if value is None or value.shape != tuple(variable.shape):
            found = "missing" if value is None else value.shape
            raise UserError(f"the optimizer of another run: {variable.path} is {found}, wanted {tuple(variable.shape)}")
        variable.assign(value)


def partial_metrics(files):
    """Return the metrics' sums in the middle of an epoch, in the order of `model.metrics_variables`."""
    training = read_tensors(files["training.safetensors"])
    return [training[name] for name in sorted(name for name in training if name.startswith("metric/"))]


def load_best(run, model):
    """Load a run's weights of the best epoch on val into a model; return the newest state of the run. Raises UserError."""
    state, weights = _best(run)
    put_weights(model, weights)
    return state


def best_weights(run):
    """Return a run's weights of the best epoch on val, arrays by path. Raises UserError."""
    return _best(run)[1]


def _best(run):
    folder, newest = run.weights, newest_whole(run.weights)
    if newest is None:
        raise UserError(
            f"no checkpoint of run '{run.name}' in {folder}: --weights-dir says where they lie, if it finished an epoch"
        )
    state = read_state(newest[1], needs=("best", "progress"))
    run.check_owns(newest[0], state)
    if state["best"]["epoch"] is None:
        raise UserError(f"no finished epoch in {folder} yet: the same `python train.py` command goes on")
    path = folder / checkpoint_name(state["best"]["epoch"] + 1, 0)
    try:
        files = read_checkpoint(path)
    except ValueError as error:
        raise UserError(f"the best checkpoint, {path}, is damaged ({error})") from error
    run.check_owns(path, read_state(files))
    return state, read_tensors(files["model.safetensors"], f"the best checkpoint, {path},")


def _tensors(model):
    """Return (weights to use by path, everything else that training needs)."""
    trained = {variable.path: copy_of(variable) for variable in model.variables}
    training = {f"optimizer/{variable.name}": copy_of(variable) for variable in model.optimizer.variables}
    training |= {f"metric/{i:02d}": copy_of(variable) for i, variable in enumerate(model.metrics_variables)}
    weights, averages = dict(trained), average_of(model)
    if averages:
        training |= {f"model/{v.path}": trained[v.path] for v in model.trainable_variables}
        weights |= {v.path: copy_of(average) for v, average in zip(model.trainable_variables, averages, strict=True)}
    return weights, training


def put_weights(model, weights):
    own = {variable.path: variable for variable in model.variables}
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or extra:
        raise UserError(f"weights of another model: missing {missing[:3] or 'none'}, not wanted {extra[:3] or 'none'}")
    for path, variable in own.items():
        if tuple(variable.shape) != weights[path].shape:
            raise UserError(f"weights of another model: {path} is {weights[path].shape}, wanted {tuple(variable.shape)}")
        variable.assign(weights[path])
