"""Several runs at once: none twice, none lost, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest
from conftest import ROOT
from processes import PATIENCE

from foundation.errors import UserError
from foundation.flags import read_config
from foundation.settings import Config
from lab.engines import fleet
from lab.engines.fleet import Planned

# Stands for train.py: says that it began, waits, leaves a result. As train.py does it takes its time to end at a first signal and
# is killed by a second one.
TRAIN = """
import os, signal, sys, time
from dataclasses import asdict
from foundation.flags import read_config
from lab.runs.run import Run
config = read_config(sys.argv[1:])
run = Run.of(config)
def stop(number, frame):
    signal.signal(number, signal.SIG_DFL)
    time.sleep(0.5)
    (run.output / ".saved").touch()
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
(run.output / f".began-{os.getpid()}").touch()
run.write_json("config.json", asdict(config))
time.sleep(config.init_lr)
run.write_json("history.json", {"epoch": list(range(1, config.epochs + 1))})
run.write_json("metrics.json", {"epochs": config.epochs, "best_epoch": 1})
"""


def test_the_command_line_of_a_run_wins_over_every_edit_of_config(tmp_path, monkeypatch):
    (tmp_path / "config.py").write_text("start_epoch = 10\nrun = 'mine'\nnesterov = True\n")
    monkeypatch.setenv("RESLAB_CONFIG", str(tmp_path / "config.py"))
    assert asdict(read_config(fleet.flags(Config()))) == asdict(Config())


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Makes runs that take so many seconds."""
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.setattr(fleet, "TRAIN", tmp_path / "train.py")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config = replace(Config(), output_dir=str(tmp_path / "o"), weights_dir=str(tmp_path / "w"), epochs=1, warmup_epochs=0.0)
    return lambda *seconds: [Planned(replace(config, run=str(i), init_lr=float(lasts))) for i, lasts in enumerate(seconds)]


def began(planned):
    return len(list(planned.run.output.glob(".began-*")))


def test_every_run_is_trained_once_and_what_is_finished_never_again(planned):
    runs, lines = planned(0.01, 0.01, 0.01), []
    for _ in range(2):
        fleet.run_all(runs, fleet.LocalEngine(2), lines.append, lambda: None)
        assert all(run.is_finished() and not run.failure for run in runs)
    assert [began(run) for run in runs] == [1, 1, 1] and lines[-1].startswith("3 of 3 runs finished")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or os.cpu_count() < 2, reason="needs two cores to give away")
def test_runs_of_backends_that_take_every_core_are_given_their_own(planned, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    engine, runs = fleet.LocalEngine(2), planned(60, 60)
    for run in runs:
        run.run.output.mkdir(parents=True)
    processes = [engine.start(run) for run in runs]
    try:
        first, second = (os.sched_getaffinity(process.pid) for process in processes)
        assert first and second and not first & second and first | second == os.sched_getaffinity(0)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_threads_are_as_many_as_the_cores_that_may_be_used(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(100, 106)), raising=False)
    assert fleet.LocalEngine(2).environment["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize("count", [4, 1, 0])
def test_runs_at_once_divide_the_gpus_and_their_memory(count, planned, monkeypatch):
    names = ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION", "TF_FORCE_GPU_ALLOW_GROWTH")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    told = f"(run.output / 'gpu').write_text(' '.join(map(str, map(os.environ.get, {names}))))\n"
    fleet.TRAIN.write_text(TRAIN.replace("time.sleep(config", told + "time.sleep(config"))
    runs = planned(0.5, 0.5, 0.5)
    fleet.run_all(runs, fleet.LocalEngine(3), lambda line: None, lambda: None)
    none = "None None None"
    wanted = {4: ["0 None None", "1 None None", "2 None None"], 1: ["0 0.300 true"] * 3, 0: [none] * 3}
    assert [(run.run.output / "gpu").read_text() for run in runs] == wanted[count]


def test_a_users_gpus_and_shares_of_memory_stand(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    user = {"CUDA_VISIBLE_DEVICES": "5,GPU-7", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.2", "TF_FORCE_GPU_ALLOW_GROWTH": "false"}
    given = [fleet.on_its_gpu(user, place, 4) for place in range(4)]
    assert [one.pop("CUDA_VISIBLE_DEVICES") for one in given] == ["5", "GPU-7", "5", "GPU-7"]
    assert all(one.items() < user.items() for one in given)
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in fleet.on_its_gpu({"XLA_CLIENT_MEM_FRACTION": "0.2"}, 0, 4)
    assert fleet.on_its_gpu(user, 0, 1) == user


def hold_elsewhere(planned):
    """A process that holds a run until its input ends."""
    planned.run.output.mkdir(parents=True, exist_ok=True)
    script = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    line = [sys.executable, "-c", script, planned.run.output / ".lock"]
    holder = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n" and planned.run.is_being_written()
    return holder


def test_a_run_that_another_process_writes_is_waited_for(planned):
    (run,), starts = planned(0.01), []
    holder = hold_elsewhere(run)

    def report(line):
        starts.append(began(run))
        holder.stdin.close()

    fleet.run_all([run], fleet.LocalEngine(1), report, lambda: None)
    assert holder.wait() == 0 and run.is_finished() and (starts[0], began(run)) == (0, 1)


def test_a_run_that_another_process_took_meanwhile_is_waited_for(planned):
    (run,), holders, lines, refusals = planned(0.01), [], [], []
    fleet.TRAIN.write_text(TRAIN.replace("time.sleep(config", "with run.writing(config): time.sleep(config"))
    engine = fleet.LocalEngine(1)
    start = engine.start

    def start_too_late(planned):
        if not holders:
            holders.append(hold_elsewhere(planned))
        return start(planned)

    def report(line):
        lines.append(line)
        refusals.append("is being written" in run.log.read_text())
        if sum(refusals) == 2:  # half a second after the first process was refused: it has ended
            holders[0].stdin.close()

    engine.start = start_too_late
    fleet.run_all([run], engine, report, lambda: None)
    assert holders[0].wait() == 0 and run.is_finished() and began(run) == 2
    assert not any("failed" in line for line in lines)


def test_a_run_waits_for_the_one_it_starts_from_and_fails_with_it(planned):
    source, first, second = planned(0.5, 0.01, 0.01)
    other = Planned(replace(source.config, run="other", epochs=7))
    first.needs, second.needs = source, other
    fleet.TRAIN.write_text(TRAIN.replace("time.sleep(config", "assert config.epochs < 7, 'diverged'\ntime.sleep(config"))
    lines = []
    fleet.run_all([second, first, other, source], fleet.LocalEngine(2), lines.append, lambda: None)
    assert [began(run) for run in (source, first, other, second)] == [1, 1, 1, 0]
    ends = [(run.run.output / "metrics.json").stat().st_mtime_ns for run in (source, first)]
    assert ends[0] < ends[1] and lines[-1].startswith("2 of 4 runs finished, 2 failed, epoch 2 of 2")
    assert second.failure == "other, which it starts from, failed: AssertionError: diverged"


def test_a_run_that_was_measured_on_its_way_goes_on(planned):
    (run,) = planned(0.01)
    run.run.output.mkdir(parents=True)
    run.config = replace(run.config, schedule="constant")
    longer = replace(run, config=replace(run.config, epochs=3))
    for wanted, starts in ((run, 1), (longer, 2), (longer, 2)):
        fleet.run_all([wanted], fleet.LocalEngine(1), lambda line: None, lambda: None)
        assert wanted.is_finished() and began(run) == starts
    with pytest.raises(UserError, match="epochs 3 -> 1"):
        fleet.run_all([run], fleet.LocalEngine(1), lambda line: None, lambda: None)
    longer.run.write_json("metrics.json", {"epochs": 2, "best_epoch": 1})
    assert not longer.is_finished()
    patient = replace(longer.config, early_stopping_patience=1)
    assert longer.run.is_finished(patient) and not longer.run.is_finished(replace(patient, early_stopping_patience=2))


def test_a_run_that_is_killed_says_by_what(planned):
    (run,) = planned(60)
    run.config = replace(run.config, init_lr=0.5)
    fleet.TRAIN.write_text(TRAIN.replace("time.sleep(config.init_lr)", "print('so far', flush=True); os.kill(os.getpid(), 9)"))
    fleet.run_all([run], fleet.LocalEngine(1), lambda line: None, lambda: None)
    assert run.failure == "killed by signal 9 after: so far"
    for ending, words in (
        ("os.kill(os.getpid(), 9)", "killed by signal 9 after: no word"),
        ("sys.exit(3)", "no word, exit code 3"),
    ):
        fleet.TRAIN.write_text(f"import os, sys; {ending}")
        fleet.run_all([run], fleet.LocalEngine(1), lambda line: None, lambda: None)
        assert run.failure == words and run.log.read_text() == "so far\n"  # what an earlier process said


def test_a_failure_is_known_to_later_sessions_which_try_again(planned):
    (run,) = planned(0.01)
    fleet.TRAIN.write_text(TRAIN.replace("time.sleep(config", "sys.exit('error: no memory')\ntime.sleep(config"))
    for starts in (1, 2):
        fleet.run_all([run], fleet.LocalEngine(1), lambda line: None, lambda: None)
        assert replace(run).failure == "error: no memory" and began(run) == starts
    fleet.TRAIN.write_text(TRAIN.replace("time.sleep(config", "assert not list(run.output.glob('.failure*'))\ntime.sleep(config"))
    fleet.run_all([run], fleet.LocalEngine(1), lambda line: None, lambda: None)
    assert run.is_finished() and not replace(run).failure


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_ended_study_leaves_no_process_and_each_run_time_to_save(planned, tmp_path, number):
    (run,) = planned(60)
    script = f"""
import signal
from foundation.settings import Config
from pathlib import Path
from lab.engines import fleet
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in a shell's background ignores it
fleet.TRAIN = Path({str(fleet.TRAIN)!r})
run = fleet.Planned(Config(**{run.config.__dict__!r}))
fleet.run_all([run], fleet.LocalEngine(1), lambda line: None, lambda: None)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    study = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=environment, start_new_session=True)
    while not (names := list(run.run.output.glob(".began-*"))):
        assert study.poll() is None
        time.sleep(0.1)
    os.killpg(study.pid, number)  # as a terminal does it
    assert study.wait(PATIENCE) in (128 + number, -number)
    with pytest.raises(ProcessLookupError):
        os.kill(int(names[0].name.split("-")[1]), 0)
    assert not run.is_finished() and (run.run.output / ".saved").exists()
