"""What a run is computed with: versions, backend, devices, commit, and the command that was typed.

Keras is imported where it is asked: who only wants the processor's name need not wait for it.
"""

import contextlib
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import devices
import replicas
from errors import UserError
from training.contents import environments_of

CHANGED = " with local changes"  # follows a commit


def record_environment(run, config, data, is_resumed):
    """Writes `environment.json`: what the run began with and, under "continued", what it went on with wherever that changed.

    `data` is the digest of the data set's content.
    """
    if replicas.RANK:
        return
    now, first = environment(config) | {"data": data}, None
    if is_resumed:
        with contextlib.suppress(UserError):  # without a record that can be read, a new one begins
            first, *continued = environments_of(run)
    if first is None:
        run.write_json("environment.json", now)
    elif [first, *continued][-1] != now:
        run.write_json("environment.json", first | {"continued": [*continued, now]})


def environment(config):
    """What a run was computed with: versions, backend, device, threads, commit, seed."""
    import keras

    packages = ("keras", "torch", "jax", "tensorflow-cpu", "tensorflow", "keras-cv", "tensorflow-datasets", "numpy")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": _threads(),
        "processes": replicas.PROCESSES,
        "versions": {name: _version(name) for name in packages if _version(name)},
        "backend": keras.config.backend(),
        "device": device_name(),
        "git_commit": _git_commit(),
        "seed": config.seed,
        "deterministic": config.deterministic,
    }


def typed_command():
    """What was typed to get here, with the backend where that is another than torch."""
    backend = os.environ["KERAS_BACKEND"]
    return ("" if backend == "torch" else f"KERAS_BACKEND={backend} ") + shlex.join(["python", *sys.argv])


def _threads():
    """That torch computes with; other backends do not tell."""
    import keras

    if keras.config.backend() == "torch":
        import torch

        return torch.get_num_threads()
    return None


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def device_name():
    """The devices that the backend computes on, in words."""
    import keras

    if keras.config.backend() == "torch":
        import torch

        names = [torch.cuda.get_device_name()] if devices.uses_cuda() else []
    else:
        names = keras.distribution.list_devices()
    return ", ".join(map(str, names)) or processor()


def processor():
    """The name of the processor, where the system tells it."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_commit(folder=Path(__file__).parent.parent):
    """The commit of the program's folder, and whether its files were changed since; None where it is no repository."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return f"{commit}{CHANGED}" if _git(folder, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def short_commit(recorded):
    """What `_git_commit` recorded, for a line of text."""
    commit, changed = str(recorded).removesuffix(CHANGED), str(recorded).endswith(CHANGED)
    return commit[:7] + (CHANGED if changed else "")


def _git(folder, *command):
    asked = ["git", "-C", str(folder), *command]
    return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
