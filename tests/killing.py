"""Trains runs that are killed and resumed: `python killing.py FOLDER SEED RUNS FLAGS...` (see test_faults.py).

Each run is a forked process, so that libraries are imported once. Runs named 0, 1, ... are killed by SIGKILL once or twice,
every third of them while a checkpoint is being written, the others at a random moment, and then left to finish.
The run named "whole" is never disturbed. Prints how each process ended.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import lab.training.experiment
from foundation.flags import read_config
from foundation.scripts import run_script


def start(name, flags):
    """A forked process that trains the run of that name; returns its id."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        log = os.open(f"log-{name}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            run_script(lambda: lab.training.experiment.train(read_config([*flags, "--run", name])))
        except SystemExit as end:
            os._exit(end.code or 0)
        finally:
            os._exit(70)
    return process


def wait(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill_while_writing(count):
    """Kills a process while it writes its checkpoint of that number, or whatever comes later."""

    def kill(process, name, earlier):
        seen, weights = set(), Path("weights") / name
        while (ended := os.waitpid(process, os.WNOHANG)) == (0, 0):
            seen |= {path.name for path in weights.glob(".writing-*")} if weights.is_dir() else set()
            if len(seen) >= count / earlier:
                os.kill(process, signal.SIGKILL)
                return wait(process)
        return os.waitstatus_to_exitcode(ended[1])

    return kill


def kill_after(seconds):
    def kill(process, name, earlier):
        time.sleep(seconds / earlier)
        os.kill(process, signal.SIGKILL)
        return wait(process)

    return kill


def killed(name, flags, kill):
    """Starts a run and kills it; where that came too late, once more from the beginning, and in half the time."""
    earlier = 1
    while (ending := kill(start(name, flags), name, earlier)) == 0:
        earlier *= 2
        for folder in ("output", "weights"):
            shutil.rmtree(Path(folder) / name, ignore_errors=True)
    print(name, "killed", ending)


def main(seed, runs, flags):
    began = time.monotonic()
    print("whole", wait(start("whole", flags)))
    lasts = time.monotonic() - began
    moments = random.Random(seed)
    for i in range(int(runs)):
        for _ in range(moments.choice((1, 1, 2))):
            kill = kill_after(moments.uniform(0.05, 0.9) * lasts) if i % 3 else kill_while_writing(moments.randint(1, 4))
            killed(str(i), flags, kill)
        print(i, "finished", wait(start(str(i), flags)))


def run(folder, seed, runs, *flags):
    os.chdir(folder)
    main(seed, runs, flags)


if __name__ == "__main__":
    run(*sys.argv[1:])
