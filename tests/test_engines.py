"""Studies on clusters: Ray, whose machines may die, and Slurm's array jobs."""

import os
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest
from conftest import ROOT
from processes import PATIENCE

from foundation.errors import UserError
from foundation.settings import Config
from lab.engines import fleet, slurm
from lab.engines.fleet import Planned
from lab.engines.ray_engine import OnRay

# Stands for train.py: an epoch every tenth of a second, each with a checkpoint; leaves a result.
TRAIN = """
import os, sys, time
from dataclasses import asdict
from foundation.scripts import run_script
from foundation.flags import read_config
from lab.runs.run import Run
def main():
    config = read_config(sys.argv[1:])
    run = Run.of(config)
    with run.writing(config):
        began = len(list(run.output.glob(".epoch-*")))
        (run.output / f".began-at-{began}").touch()
        (run.output / f".backend-{os.environ['KERAS_BACKEND']}").touch()
        for epoch in range(began, config.epochs):
            time.sleep(0.1)
            (run.output / f".epoch-{epoch}").touch()
            run.write_json("history.json", {"epoch": list(range(1, epoch + 2))})
            if config.max_minutes and epoch == 3 and began == 0:
                return 124
        run.write_json("metrics.json", {"epochs": config.epochs, "best_epoch": 1})
run_script(main)
"""


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Makes so many runs of so many epochs."""
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.setattr(fleet, "TRAIN", tmp_path / "train.py")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config = replace(Config(), output_dir=str(tmp_path / "o"), weights_dir=str(tmp_path / "w"), warmup_epochs=0.0)

    def make(count, epochs, first=0):
        return [Planned(replace(config, run=str(i), epochs=epochs)) for i in range(first, first + count)]

    return make


def test_a_machine_that_dies_costs_no_run(planned, tmp_path):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    machines = [cluster.add_node(num_cpus=1) for _ in range(2)]
    try:
        runs, killed = planned(4, epochs=12), tmp_path / "killed"
        waiting = f"time.sleep(0.1)\n            while epoch == 5 and not os.path.exists({str(killed)!r}): time.sleep(0.05)"
        fleet.TRAIN.write_text(TRAIN.replace("time.sleep(0.1)", waiting))

        def kill_one():
            """When both machines are within a run; their runs wait for it."""
            if not killed.exists() and sum(len(run.history()["epoch"]) for run in runs) == 10:
                cluster.remove_node(machines[0], allow_graceful=False)
                killed.touch()

        engine = OnRay(cluster.address, 1, 0, jobs=4)
        fleet.run_all(runs, engine, lambda line: None, kill_one)
        assert killed.exists() and all(run.is_finished() and not run.failure for run in runs)
        assert all(len(run.history()["epoch"]) == 12 for run in runs)
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_cluster_that_is_not_there_is_one_line():
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=r"no Ray cluster at address '127\.0\.0\.1:1'"):
        OnRay("127.0.0.1:1", 1, 0, jobs=1)


def test_slurms_jobs_train_their_lines_and_queue_themselves_again(planned, tmp_path, monkeypatch):
    runs = planned(2, epochs=6)
    dependent = replace(runs[1].config, run="dependent")
    runs += [Planned(dependent, needs=runs[0])]
    submit = slurm.write_jobs("study", runs, tmp_path / "jobs", cpus=3, gpus=1, minutes=60)
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sbatch", "scontrol"):
        (tools / tool).write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/{tool}.txt; echo 77\n')
        (tools / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    subprocess.run(["bash", submit], check=True)
    first, second = (tmp_path / "sbatch.txt").read_text().splitlines()
    assert first == f"--parsable {tmp_path}/jobs/slurm-job-0.sh"
    assert second == f"--parsable --dependency=afterany:77 {tmp_path}/jobs/slurm-job-1.sh"
    job = (tmp_path / "jobs/slurm-job-0.sh").read_text()
    for line in ("--array=0-1", "--time=60", "--ntasks=1", "--cpus-per-task=3", "--gpus-per-task=1", "--requeue"):
        assert f"#SBATCH {line}\n" in job

    def run(task):
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "77")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(task))
        return subprocess.run(["bash", tmp_path / "jobs/slurm-job-0.sh"], capture_output=True, text=True)

    assert run(1).returncode == 0 and not runs[1].is_finished()  # its time was over after four epochs
    assert (tmp_path / "scontrol.txt").read_text() == "requeue 77_1\n"
    assert run(1).returncode == 0 and runs[1].is_finished()
    assert (runs[1].run.output / ".began-at-4").exists() and not runs[0].is_finished()
    assert slurm.write_jobs("study", runs[1:2], tmp_path / "none", 1, 0, 60).read_text().count("sbatch") == 0


def run_job(folder, number, task):
    """Runs a task of an array job as Slurm does."""
    environment = os.environ | {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": str(task)}
    with open(folder / f"slurm-77_{task}.log", "w") as log:
        return subprocess.run(["bash", folder / f"slurm-job-{number}.sh"], env=environment, stdout=log, stderr=log).returncode


def test_a_run_of_a_job_says_why_it_failed_until_it_is_started_again(planned, tmp_path):
    (run,) = planned(1, epochs=1)
    slurm.write_jobs("study", [run], tmp_path / "the jobs", 1, 0, 60)
    whole = fleet.TRAIN.read_text()
    fleet.TRAIN.write_text("import sys; sys.exit('error: no memory')")
    assert run_job(tmp_path / "the jobs", 0, 0) == 1 and run.failure == "error: no memory (exit code 1)"
    fleet.TRAIN.write_text("import os; os.kill(os.getpid(), 9)")
    assert run_job(tmp_path / "the jobs", 0, 0) == 137 and run.failure.endswith("(exit code 137)")
    fleet.TRAIN.write_text(whole.replace("began = ", "assert not list(run.output.glob('.failure*'))\n        began = "))
    assert run_job(tmp_path / "the jobs", 0, 0) == 0 and run.is_finished() and not run.failure


def test_a_job_starts_from_no_source_that_is_not_finished(planned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    *sources, arm, other = planned(4, epochs=2)
    arm.needs, other.needs = sources
    slurm.write_jobs("study", [*sources, arm, other], tmp_path / "jobs", 1, 0, 60)
    assert run_job(tmp_path / "jobs", 1, 0) == 2 and "unknown run" in arm.failure and not arm.is_finished()
    for epochs in (1, 2):
        sources[0].run.output.mkdir(parents=True, exist_ok=True)
        sources[0].run.write_json("config.json", asdict(sources[0].config))
        sources[0].run.write_json("metrics.json", {"epochs": epochs, "best_epoch": 1})
        assert run_job(tmp_path / "jobs", 1, 0) == (0 if epochs == 2 else 2)
        assert arm.failure == "" if epochs == 2 else "'0' is not finished" in arm.failure
    assert arm.is_finished()
    monkeypatch.delenv("PYTHONPATH")
    assert run_job(tmp_path / "jobs", 1, 1) == 2 and "unknown run" in other.failure
    sources[0].run.write_json("metrics.json", {"epochs": 1, "best_epoch": 1})
    assert arm.run.is_finished() and not arm.is_finished()  # of half a training: no result


def test_jobs_that_wait_keep_their_list_when_others_are_written(planned, tmp_path, monkeypatch):
    runs = planned(3, epochs=1)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    slurm.write_jobs("study", runs, tmp_path / "jobs", 1, 0, 60)
    waiting = (tmp_path / "jobs/slurm-job-0.sh").rename(tmp_path / "waiting.sh")  # sbatch copies it
    slurm.write_jobs("study", runs[2:], tmp_path / "jobs", 1, 0, 60)
    environment = os.environ | {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "1"}
    del environment["KERAS_BACKEND"]
    subprocess.run(["bash", waiting], env=environment, check=True)
    assert [run.is_finished() for run in runs] == [False, True, False]
    assert (runs[1].run.output / ".backend-jax").exists()


def test_a_job_that_slurm_ends_lets_its_run_write_first(planned, tmp_path, monkeypatch):
    (run,) = planned(1, epochs=600)
    slurm.write_jobs("study", [run], tmp_path / "jobs", 1, 0, 60)
    script = fleet.TRAIN.read_text().replace("began == 0", "False")
    handler = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
    fleet.TRAIN.write_text(script.replace("def main():", handler + "def main():"))
    (tmp_path / "scontrol").write_text(f'#!/bin/bash\necho "$@" > {tmp_path}/again.txt\n')
    (tmp_path / "scontrol").chmod(0o755)
    environment = os.environ | {
        "SLURM_ARRAY_JOB_ID": "77",
        "SLURM_ARRAY_TASK_ID": "0",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    job = subprocess.Popen(["bash", tmp_path / "jobs/slurm-job-0.sh"], env=environment)
    while not run.history()["epoch"] and job.poll() is None:
        time.sleep(0.05)
    job.terminate()
    assert job.wait(PATIENCE) == 0 and (tmp_path / "again.txt").read_text() == "requeue 77_0\n"


def test_the_command_line_writes_the_jobs_of_a_study(tmp_path):
    command = [ROOT / "study.py", "normalization", "--scale", "smoke", "--engine", "slurm", "--output-dir", tmp_path]
    process = subprocess.run(list(map(str, [sys.executable, *command])), capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 0 and "slurm-submit.sh" in process.stdout, process.stderr
    folder = tmp_path / "studies/normalization"
    assert "gpus" not in (folder / "slurm-job-0.sh").read_text()  # sbatch refuses to be asked for none
    (listed,) = folder.glob("slurm-runs-*.txt")
    lines = listed.read_text().splitlines()
    assert len(lines) > 5 and all("train.py" in line and "--max-minutes 235.0" in line for line in lines)
