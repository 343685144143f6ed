"""Environment of a run: versions, backend, devices, commit, and the command that was typed.

Keras is imported only when a function needs it: reading the processor's name need not wait for it.
"""

import contextlib
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from foundation import backend, devices, replicas
from foundation.errors import UserError
from lab.runs.contents import environments_of

CHANGED = " with local changes"  # follows a commit
STATUS = ("status", "--porcelain", "--untracked-files=no", "--", "*.py")


def record_environment(run, config, data, is_resumed):
    """Write `environment.json`: the environment at the run's start and, under "continued", each later one that differs.

    `data` is the digest of the data set's content.
    """
    if replicas.RANK:
        return
    now, first = environment(config) | {"data": data}, None
    if is_resumed:
        with contextlib.suppress(UserError):  # a record that can't be read is replaced by a new one
            first, *continued = environments_of(run)
    if first is None:
        run.write_json("environment.json", now)
    elif [first, *continued][-1] != now:
        run.write_json("environment.json", first | {"continued": [*continued, now]})


def environment(config):
    """Return the environment of a run: versions, backend, device, threads, commit, seed."""

    packages = ("keras", "torch", "jax", "tensorflow-cpu", "tensorflow", "keras-cv", "tensorflow-datasets", "numpy")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": _threads(),
        "processes": replicas.PROCESSES,
        "versions": {name: _version(name) for name in packages if _version(name)},
        "backend": backend.name(),
        "device": device_name(),
        "git_commit": git_commit(),
        "seed": config.seed,
        "deterministic": config.deterministic,
    }


def typed_command() -> str:
    """Return the command that was typed, with the backend if it is not torch."""
    return ("" if backend.name() == "torch" else f"KERAS_BACKEND={backend.name()} ") + shlex.join(["python", *sys.argv])


def _threads():
    """Return the number of threads that torch computes with; None for other backends, which do not tell it."""

    if backend.name() == "torch":
        import torch

        return torch.get_num_threads()
    return None


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def device_name() -> str:
    """Return the devices that the backend computes on, in words."""
    import keras

    if backend.name() == "torch":
        import torch

        names = [torch.cuda.get_device_name()] if devices.uses_cuda() else []
    else:
        names = keras.distribution.list_devices()
    return ", ".join(map(str, names)) or processor()


def processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_commit(folder=Path(__file__).parents[2]) -> str | None:
    """Return the commit of the program's folder, and whether its Python files changed since; None if it is no repository.

    Results, which studies write into the repository, are no part of the program.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return f"{commit}{CHANGED}" if _git(folder, *STATUS) else commit
    except (OSError, subprocess.SubprocessError):
        return None


def short_commit(recorded) -> str:
    """Return a commit that `git_commit` recorded, shortened for a line of text."""
    commit, changed = str(recorded).removesuffix(CHANGED), str(recorded).endswith(CHANGED)
    return commit[:7] + (CHANGED if changed else "")


def _git(folder, *command):
    asked = ["git", "-C", str(folder), *command]
    return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
