"""Several runs, each an ordinary `train.py` process, supervised until all have ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from foundation import backend
from foundation.errors import UserError, printable
from foundation.files import open_to_append, read_text, write_whole
from foundation.grammar import counted, duration
from foundation.settings import Config
from lab.runs.contents import epochs_of
from lab.runs.metrics import metrics_of
from lab.runs.run import Run

TRAIN = Path(__file__).parents[2] / "train.py"
FAILURE = ".failure.txt"  # in a run's output folder: the reason why its last process ended without a result


@dataclass
class Planned:
    """A run that is planned, by its settings."""

    config: Config
    needs: "Planned | None" = None  # a run that must be finished before
    log_start: int = 0  # bytes that earlier processes wrote to the log

    @property
    def run(self) -> Run:
        return Run.of(self.config)

    @property
    def log(self) -> Path:
        return self.run.output / ".log.txt"

    @property
    def failure(self) -> str:
        """Reason why there is no result: a line of the last process, or of the run that it starts from. Empty if none failed."""
        if self.is_finished():
            return ""
        if self.needs and (why := self.needs.failure):
            return f"{self.needs.run.name}, which it starts from, failed: {why}"
        try:
            return printable(read_text(self.run.output / FAILURE).strip()[:2000])
        except OSError:
            return ""

    def fail(self, why):
        """Store why the process ended, until another is started, so that a later report can show it."""
        with contextlib.suppress(OSError):  # a full disk has no room for the reason, and the other runs go on
            write_whole(self.run.output, FAILURE, f"{why}\n".encode(errors="replace"))

    def begin(self):
        """Prepare for a process: make the folder and remove the failure of an earlier process."""
        self.run.output.mkdir(parents=True, exist_ok=True)
        (self.run.output / FAILURE).unlink(missing_ok=True)
        self.log_start = self.log.stat().st_size if self.log.is_file() else 0

    def last_line(self) -> str:
        """Return the last line that the newest process wrote to the log; empty if it wrote nothing."""
        written = self.log.read_bytes()[self.log_start :] if self.log.is_file() else b""
        return (written.decode(errors="replace").strip().splitlines() or [""])[-1]

    def history(self):
        """Return the history of the epochs so far; empty before the first."""
        try:
            return epochs_of(self.run, names=())
        except UserError:
            return {"epoch": []}

    def is_finished(self):
        """Return whether the run has its result, and so has the run that it starts from."""
        return self.run.is_finished(self.config) and (self.needs is None or self.needs.is_finished())

    def metrics(self):
        return metrics_of(self.run)


def flags(config):
    """Return the command line flags that give this config, whatever config.py says."""
    line = []
    for name, value in asdict(config).items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            line.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            line += [flag, str(value)]
    return line


def usable_cores() -> list[int]:
    """Return the cores that this process may use; a container or taskset may leave it fewer than the machine has."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def on_its_gpu(environment, place, jobs):
    """Return the environment of one of several jobs, which sees one of the GPUs that this process sees.

    Jobs that share a GPU leave one another a part of its memory: by default jax and TensorFlow each take nearly all. Memory
    settings of the user stay.
    """
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    gpus = list(map(str, range(_gpu_count()))) if listed is None else listed.split(",")
    if jobs == 1 or not gpus:
        return environment
    own, memory = place % len(gpus), {}
    sharing = len(range(own, jobs, len(gpus)))
    if sharing > 1:
        memory = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}
        if "XLA_CLIENT_MEM_FRACTION" not in environment:  # a later name of the same setting; jax refuses both together
            memory["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / sharing:.3f}"
    return memory | environment | {"CUDA_VISIBLE_DEVICES": gpus[own]}


def _gpu_count():
    """Return the number of GPUs of this machine, without starting CUDA. Only torch knows GPUs of other makers."""
    if backend.name() == "torch":
        import torch

        return torch.cuda.device_count()
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


class LocalEngine:
    """Engine that starts runs as processes of this machine, `jobs` at a time, which share its cores."""

    def __init__(self, jobs):
        self.jobs = jobs
        self.places: list[subprocess.Popen | None] = [None] * jobs  # the process at each place, the last one there
        threads = int(os.environ.get("OMP_NUM_THREADS") or len(usable_cores()))
        self.environment = os.environ | {"OMP_NUM_THREADS": str(max(threads // jobs, 1))}

    def start(self, planned):
        place = next(i for i, other in enumerate(self.places) if other is None or other.poll() is not None)
        environment = on_its_gpu(self.environment, place, self.jobs)
        with open_to_append(planned.log) as log:
            process = start_process(command(planned.config), log, environment)
        self.places[place] = process
        # jax and TensorFlow start a thread for each core that they may use, and look at nothing else
        if backend.name() != "torch" and hasattr(os, "sched_setaffinity"):
            cores = usable_cores()
            os.sched_setaffinity(process.pid, cores[place :: self.jobs] or cores)
        return process


def start_process(command, log, environment):
    """Start a process that writes to an open log; return its `Popen`.

    It has a session of its own, so that only `run_all` signals it when the study ends. A second signal would keep it from writing
    its checkpoint.
    """
    how = {"stdin": subprocess.DEVNULL, "env": environment, "start_new_session": True}
    return subprocess.Popen(command, stdout=log, stderr=log, **how)


def command(config):
    """Return the command line that trains the run of a config."""
    return [sys.executable, str(TRAIN), *flags(config)]


def run_all(runs, engine, report, after_epoch):
    """Train unfinished runs by an engine, such as `LocalEngine`. A run that fails is marked and the others go on.

    However this ends, the processes that it started end too, with checkpoints written. An engine has `jobs`, the number of runs
    that it takes at once, and `start(planned)`, which returns an object with the `poll`, `terminate` and `wait` of a process.
    `report` is given a line twice a second; `after_epoch` is called whenever some run has finished another epoch.
    """
    for planned in runs:
        planned.run.check(planned.config)
    waiting = [planned for planned in runs if not planned.is_finished()]
    began, before = time.monotonic(), _epochs_done(runs)
    active, done = {}, before
    ending = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handlers = {number: signal.signal(number, lambda number, frame: sys.exit(128 + number)) for number in ending}
    try:
        while waiting or active:
            _leave_out(waiting, active.values())
            while len(active) < engine.jobs and (planned := _next(waiting)):
                planned.begin()
                active[engine.start(planned)] = planned
            time.sleep(0.5)
            for process in [process for process in active if process.poll() is not None]:
                _end(active.pop(process), process.poll(), waiting)
            last, done = done, _epochs_done(runs)
            report(_progress(runs, [*waiting, *active.values()], done, before, time.monotonic() - began))
            if done != last:
                after_epoch()
    finally:
        for process in active:
            process.terminate()
        for process in active:
            process.wait()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _leave_out(waiting, active):
    """Remove from `waiting` the runs that need no process.

    They are finished, perhaps by another study's process, or start from a run that is neither finished nor going to be.
    """
    going = [*waiting, *active]
    waiting[:] = [
        planned
        for planned in waiting
        if not planned.is_finished() and (planned.needs is None or planned.needs.is_finished() or planned.needs in going)
    ]


def _next(waiting):
    """Remove from `waiting`, and return, the first run that needs no other and that no process writes; None if there is none.

    A run that a process of a killed study still writes stays in the queue.
    """
    for planned in waiting:
        is_ready = planned.needs is None or planned.needs.is_finished()
        if is_ready and not planned.run.is_being_written() and not planned.is_finished():
            waiting.remove(planned)
            return planned
    return None


def _end(planned, code, waiting):
    """Record why a process ended without a result: its last line, and whether it was killed.

    If another process holds the run's lock, put the run back in the queue.
    """
    if planned.is_finished():
        return
    if planned.run.is_being_written():
        waiting.append(planned)
        return
    last = planned.last_line()
    killed = f"killed by signal {-code} after: {last or 'no word'}"
    planned.fail(killed if code < 0 else last or f"no word, exit code {code}")


def _epochs_done(runs):
    return sum(len(planned.history()["epoch"]) for planned in runs)


def _progress(runs, going, done, before, seconds):
    """Return a line on progress.

    `going` are the runs that train or wait; `before` of the `done` epochs were done at the start.
    """
    finished = sum(planned.is_finished() for planned in runs)
    going = [planned for planned in going if not planned.is_finished()]
    failed = len(runs) - finished - len(going)
    to_do = sum(planned.config.epochs - len(planned.history()["epoch"]) for planned in going)
    left = f", {duration(seconds * to_do / (done - before))} left" if done > before else ""
    ended = f"{finished} of {counted(len(runs), 'run')} finished{f', {failed} failed' if failed else ''}"
    return f"{ended}, epoch {done} of {done + to_do}{left}"
