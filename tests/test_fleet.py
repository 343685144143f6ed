"""Several runs at once: none twice, none lost, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from conftest import ROOT

from config import Config
from training import fleet
from training.fleet import Planned
from training.run import Run

# Stands for train.py: says that it began, waits, leaves a result.
TRAIN = """
import os, sys, time
from dataclasses import asdict
from training.flags import read_config
from training.run import Run
config = read_config(sys.argv[1:])
run = Run.of(config)
(run.output / f".began-{os.getpid()}").touch()
run.write_json("config.json", asdict(config))
time.sleep(config.init_lr)
run.write_json("history.json", {"epoch": [1]})
run.write_json("metrics.json", {})
"""


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Makes runs that take so many seconds."""
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.setattr(fleet, "TRAIN", tmp_path / "train.py")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config = replace(Config(), output_dir=str(tmp_path / "o"), weights_dir=str(tmp_path / "w"), epochs=1, warmup_epochs=0.0)
    return lambda *seconds: [
        Planned("arm", i, replace(config, run=str(i), init_lr=float(lasts))) for i, lasts in enumerate(seconds)
    ]


def began(planned):
    return len(list(planned.run.output.glob(".began-*")))


def test_every_run_is_trained_once_and_what_is_finished_never_again(planned):
    runs, lines = planned(0.01, 0.01, 0.01), []
    for _ in range(2):
        fleet.run_all(runs, fleet.Here(2), lines.append, lambda: None)
        assert all(run.is_finished() and not run.failure for run in runs)
    assert [began(run) for run in runs] == [1, 1, 1] and lines[-1].startswith("3 of 3 runs finished")


def test_a_run_that_another_process_writes_is_waited_for(planned):
    (run,) = planned(0.01)
    run.run.output.mkdir(parents=True)
    script = (
        "import sys, time, filelock\n"
        "lock = filelock.FileLock(sys.argv[1])\n"
        "lock.acquire()\n"
        "print('held', flush=True)\n"
        "time.sleep(2)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, run.run.output / ".lock"], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n" and Run.of(run.config).is_being_written()
    fleet.run_all([run], fleet.Here(1), lambda line: None, lambda: None)
    assert holder.wait() == 0 and run.is_finished() and began(run) == 1


def test_a_run_waits_for_the_one_it_starts_from_and_fails_with_it(planned):
    source, first, second = planned(0.5, 0.01, 0.01)
    first.needs, second.needs = source, Planned("arm", 9, source.config, failure="diverged")
    fleet.run_all([second, first, source], fleet.Here(2), lambda line: None, lambda: None)
    assert [began(run) for run in (source, first, second)] == [1, 1, 0]
    ends = [(run.run.output / "metrics.json").stat().st_mtime_ns for run in (source, first)]
    assert ends[0] < ends[1] and "starts from, failed" in second.failure


def test_a_terminated_study_leaves_no_process(planned, tmp_path):
    (run,) = planned(60)
    script = f"""
import config
from pathlib import Path
from training import fleet
fleet.TRAIN = Path({str(fleet.TRAIN)!r})
run = fleet.Planned("arm", 0, config.Config(**{run.config.__dict__!r}))
fleet.run_all([run], fleet.Here(1), lambda line: None, lambda: None)
"""
    study = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    while not (names := list(run.run.output.glob(".began-*"))):
        assert study.poll() is None
        time.sleep(0.1)
    study.send_signal(signal.SIGTERM)
    assert study.wait(30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(names[0].name.split("-")[1]), 0)
    assert not run.is_finished()
