"""Processes that tests start: forked from a Python that has imported Keras already, or new ones where that is the question."""

import atexit
import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from filelock import FileLock

from foundation.errors import RunFailure
from foundation.files import keep_libraries_private

ROOT = Path(__file__).parent.parent
OWNER = "RESLAB_TESTS_OWNER"  # variable with the id of the process that a test run began with
READ_AT_IMPORT = ("KERAS_", "OMP_", "ATEN_", "ONEDNN_", "TORCH", "TF_", "MPL", "PYTHON")  # how the names of variables begin
# Set by TensorFlow, Streamlit, Ray and torch's compiler, wherever a test uses them: no reason for a new interpreter.
SET_BY_LIBRARIES = ("TF_FORCE_GPU_ALLOW_GROWTH", "MPLBACKEND", "PYTHONBREAKPOINT", "TORCHINDUCTOR_CACHE_DIR")
OF_A_RANK = ("WORLD_SIZE", "RANK", "LOCAL_RANK")  # that one test alone gives its processes, whoever is forked first
PATIENCE = 1800  # seconds until a process counts as hanging: many times what a slow, busy machine takes


def temporary_folder():
    """The folder in which this test run, and every process that it starts, makes its temporary files; it ends with the run.

    A run that was killed leaves its own to the next run.
    """
    if OWNER not in os.environ:  # a worker of pytest-xdist inherits those of the process that started it
        keep_libraries_private()  # what they keep serves the next run too
        place = Path(tempfile.gettempdir())
        for left in place.glob("reslab-test-*"):
            owner = left.name.split("-")[2]
            if owner.isdigit() and not is_alive(int(owner)):
                shutil.rmtree(left, ignore_errors=True)
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(place))  # what tests wrote may be looked at afterwards
        folder = tempfile.mkdtemp(prefix=f"reslab-test-{os.getpid()}-")
        os.environ |= {OWNER: str(os.getpid()), "TMPDIR": folder}
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        tempfile.tempdir = None  # what it knew
    return Path(tempfile.gettempdir())


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


TEMPORARY = temporary_folder()


@functools.cache
def zygote_of(backend):
    """The one of a backend, which all pytest processes of a test run share; started where the first test needs it."""
    return Zygote(backend)


class Zygote:
    """Starts Python processes with Keras imported, on one backend: see zygote.py."""

    def __init__(self, backend):
        environment = {name: value for name, value in _environment(backend).items() if name not in OF_A_RANK}
        self.imported_with = _read_at_import(environment)
        digest = hashlib.sha256(json.dumps(self.imported_with, sort_keys=True).encode()).hexdigest()
        path = TEMPORARY / f"zygote-{backend}-{digest[:8]}"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                command = [sys.executable, ROOT / "tests" / "zygote.py", path, os.environ[OWNER]]
                process = subprocess.Popen(list(map(str, command)), env=environment, stdin=subprocess.DEVNULL)
                while not path.exists():
                    assert process.poll() is None, "the process that others are forked from has ended"
                    time.sleep(0.01)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        self.stream, self.lock = connection.makefile("rw"), threading.Lock()

    def ask(self, **command):
        with self.lock:
            self.stream.write(json.dumps(command) + "\n")
            self.stream.flush()
            line = self.stream.readline()
        assert line, "the process that others are forked from has ended"
        return json.loads(line)


class Process:
    """A forked process, with what of subprocess.Popen tests use; its output goes to files, or all of it to a log."""

    def __init__(self, arguments, backend, cwd, draws, environment, log=None):
        self.zygote, self.returncode = zygote_of(backend), None
        self.folder = Path(tempfile.mkdtemp(prefix="process-", dir=TEMPORARY))
        paths = {name: str(log or self.folder / name) for name in ("stdout", "stderr")}
        for path in paths.values():
            Path(path).touch()
        command = {"arguments": list(map(str, arguments)), "cwd": str(cwd), "draws": draws, "environment": environment}
        self.pid = self.zygote.ask(**command, **paths)

    @property
    def stdout(self):
        return (self.folder / "stdout").read_text(errors="replace")

    @property
    def stderr(self):
        return (self.folder / "stderr").read_text(errors="replace")

    def poll(self):
        if self.returncode is None:
            self.returncode, _ = self.zygote.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout=PATIENCE):
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                self.kill()
                raise subprocess.TimeoutExpired(self.pid, timeout, self.stdout, self.stderr)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(9)


class Run(Process):
    """A run of a study, to take the place of lab.engines.fleet.start_process."""

    def __init__(self, command, log, environment):
        super().__init__(command[1:], environment["KERAS_BACKEND"], os.getcwd(), False, environment, log.name)

    def terminate(self):
        self.send_signal(signal.SIGTERM)


def _environment(backend):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("KERAS_BACKEND", None)
    return environment | ({"KERAS_BACKEND": backend} if backend else {})


def _read_at_import(environment):
    names = (name for name in environment if name.startswith(READ_AT_IMPORT) and name not in SET_BY_LIBRARIES)
    return {name: environment[name] for name in names}


def start_python(*arguments, backend="torch", cwd=ROOT, draws=False, **environment):
    """Starts Python as `run_python` does and does not wait for its end; returns the Process."""
    return Process(arguments, backend, cwd, draws, _environment(backend) | environment)


def run_python(*arguments, backend="torch", cwd=ROOT, draws=False, is_new=False):
    """Runs Python to its end; returns the process with exit code and text.

    It is forked from one that has imported Keras, and writes dots for a run's pictures, which take longer than the training
    of small networks, unless it `draws`. A new interpreter serves where the import is the question (`is_new`, or variables that
    are read then are others) and where no backend is named (None), or one that there is not.
    """
    is_new = is_new or backend not in ("torch", "jax", "tensorflow")
    if not is_new and zygote_of(backend).imported_with == _read_at_import(_environment(backend)):
        process = start_python(*arguments, backend=backend, cwd=cwd, draws=draws)
        code = process.wait()
        return subprocess.CompletedProcess(arguments, code, process.stdout, process.stderr)
    environment = _environment(backend)
    environment.pop("JAX_DISABLE_MOST_OPTIMIZATIONS", None)
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE)


def run_module(module, *arguments, backend="torch"):
    """Does what lab.exporting.formats.run_module does, without the seconds that a new interpreter takes."""
    process = run_python("-m", module, *arguments, backend=backend)
    if process.returncode:
        raise RunFailure(process.stderr.splitlines()[-1])
