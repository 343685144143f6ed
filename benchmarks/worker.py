"""One contestant in a process of its own, so that no two share a backend, a memory pool or a kernel cache.

Reads a number of steps per line, runs them, and answers with one JSON line: seconds and peak memory so far.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Worker:
    """A contestant's process, as the one who measures sees it."""

    def __init__(self, name, backend, **contestant):
        self.spec = {"name": name, "backend": backend, **contestant}
        command = [sys.executable, "-m", "benchmarks.worker", json.dumps({"name": name, **contestant})]
        environment = os.environ | {"KERAS_BACKEND": backend}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
        self.device = self._answer()["device"]

    def run(self, steps):
        """`{"seconds", "peak_memory_mb"}` of so many steps."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.spec} failed:\n{self.process.stderr.read()[-2000:]}")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def serve(spec):
    """The worker's own side."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is not an answer
    import config  # noqa: F401  selects the backend, before Keras is imported
    from benchmarks.contestants import make_contestant
    from benchmarks.memory import Memory
    from training.run import device_name

    memory = Memory()
    contestant = make_contestant(**spec)
    print(json.dumps({"device": device_name()}), file=answers, flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        contestant(int(line))
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "peak_memory_mb": memory.peak_mb()}), file=answers, flush=True)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
