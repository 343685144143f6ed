"""One contestant in a process of its own, so that no two share a backend, a memory pool or a kernel cache.

Reads a number of steps per line, runs them, and answers with one JSON line: seconds, peak memory so far, and what the contestant
returned.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import cached_property
from importlib import import_module
from pathlib import Path

from foundation.errors import UserError

ROOT = Path(__file__).parents[2]
ROOM_FOR_OTHERS = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}  # else each takes most of a GPU


class Worker:
    """A contestant's process, as the one who measures sees it; `module` holds the `make_contestant` that makes it."""

    def __init__(self, name, backend, module="lab.benchmarks.contestants", **contestant):
        self.spec, self.backend, self.began = {"name": name, "backend": backend, **contestant}, backend, time.perf_counter()
        command = [sys.executable, "-m", "lab.benchmarks.worker", module, json.dumps({"name": name, **contestant})]
        environment = os.environ | {"KERAS_BACKEND": backend} | ROOM_FOR_OTHERS
        # Not a pipe: one that nobody reads fills, and the process would wait for ever.
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed with the process
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, cwd=ROOT, env=environment
        )

    @cached_property
    def device(self):
        """Name of the device in words; waits until the process is ready."""
        return self._answer()["device"]

    def run(self, steps):
        """Run so many steps; return `{"seconds", "peak_memory_mb", "returned"}`."""
        _ = self.device
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):  # the process has ended, which _answer() tells
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
        return self._answer()

    def start(self) -> float:
        """Run the first step; return the seconds since the process began: for imports, building, tracing and compiling."""
        self.run(1)
        return time.perf_counter() - self.began

    def _answer(self):
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise RuntimeError(f"{self.spec} failed:\n{self.errors.read()[-2000:]}")
        answer = json.loads(line)
        if "mistake" in answer:
            raise UserError(answer["mistake"])
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def serve(module, spec):
    """The worker's own side."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is not an answer
    from lab.benchmarks.memory import Memory
    from lab.runs.environment import device_name

    make_contestant = import_module(module).make_contestant  # with the libraries, which are nobody's memory
    memory = Memory()
    try:
        contestant = make_contestant(**spec)
    except UserError as error:
        print(json.dumps({"mistake": str(error)}), file=answers, flush=True)
        return
    print(json.dumps({"device": device_name()}), file=answers, flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        returned = contestant(int(line))
        answer = {"seconds": time.perf_counter() - began, "peak_memory_mb": memory.peak_mb(), "returned": returned}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
