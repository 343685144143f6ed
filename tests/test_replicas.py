"""Several processes or devices train as one would: the same images, weights, metrics; they fail and stop together."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import ROOT, run_python, write_images
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import start_python
from safetensors.numpy import load_file
from whole_runs import assert_same_run, newest_weights

from datasets.augment import Augmentation
from datasets.batches import TrainingBatches
from datasets.catalog import load
from foundation import replicas

pytestmark = pytest.mark.numeric

# Few steps and SiLU: a kink such as ReLU's would let the rounding of another order of sums grow.
SETTINGS = ["--model", "resnet6n2", "--n", "1", "--image-size", "8", "--batch-size", "24", "--warmup-epochs", "0.5"]
SETTINGS += ["--init-lr", "0.02", "--activation", "silu", "--mixup-alpha", "0.3", "--track-f1", "--run", "r"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """A data set of 135 train images: 5 steps of 24 and a last one of 15."""
    root = tmp_path_factory.mktemp("data") / "squares"
    for part, count, seed in (("train", 50, 0), ("test", 7, 1)):
        write_images(root / part, ("dark", "grey", "light"), count, seed=seed)
    return f"folder:{root}"


def train(folder, squares, *flags, backend="torch"):
    folder.mkdir(exist_ok=True)
    return run_python(ROOT / "train.py", "--dataset", squares, *SETTINGS, *flags, cwd=folder, backend=backend)


@pytest.fixture
def train_together():
    """Starts two processes as torchrun does, whose store outlives them; returns them ended, the first one first."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    meeting["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    attempts = itertools.count()

    def start(folder, squares, *flags, script=ROOT / "train.py", backend="torch"):
        folder.mkdir(exist_ok=True)
        meeting["TORCHELASTIC_RESTART_COUNT"] = str(next(attempts))
        command = [script, "--dataset", squares, *SETTINGS, *flags]
        ranks = [{"RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
        both = [start_python(*command, cwd=folder, backend=backend, **rank, **meeting) for rank in ranks]
        assert all(process.wait() is not None for process in both)
        return both

    yield start
    del store


def trained(folder, *arguments, **options):
    process = train(folder, *arguments, **options)
    assert process.returncode == 0, process.stderr
    return process


def difference(one, other):
    """Of all weights together, relative (L2)."""
    a, b = (np.concatenate([w[name].ravel() for name in sorted(w)]) for w in (weights(one), weights(other)))
    return np.linalg.norm(a - b) / np.linalg.norm(a)


def weights(folder):
    newest = sorted((folder / "weights/r").glob("epoch-*"))[-1]
    return load_file(newest / "model.safetensors")


def assert_same_results(one, other):
    first, second = (json.loads((folder / "output/r/metrics.json").read_text()) for folder in (one, other))
    for split in ("train", "val", "test"):
        assert first[split]["images"] == second[split]["images"]
        for name in ("loss", "accuracy", "f1_macro"):
            assert first[split][name] == pytest.approx(second[split][name], rel=1e-4)
    first, second = (json.loads((folder / "output/r/history.json").read_text()) for folder in (one, other))
    assert first.keys() == second.keys() and len(first["epoch"]) == 2
    for name, values in first.items():
        assert values == pytest.approx(second[name], rel=1e-4), name


ROUNDING = 100 * np.finfo("float32").eps  # relative, of sums in another order, over some ten steps of a few layers


@pytest.mark.parametrize("flags", [["--norm", "group"], ["--sync-norm"], ["--norm", "batch-instance", "--sync-norm"], []])
def test_two_processes_train_as_one_would(flags, squares, train_together, tmp_path):
    """The control is the last: where each process normalises its half of a batch by itself, the two differ from the one."""
    trained(tmp_path / "one", squares, *flags, "--epochs", "2")
    first, second = train_together(tmp_path / "two", squares, *flags, "--epochs", "2")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout.count("epoch 2/2") == 1 and not second.stdout
    if not flags:
        assert difference(tmp_path / "one", tmp_path / "two") > 10 * ROUNDING
        return
    assert difference(tmp_path / "one", tmp_path / "two") < ROUNDING
    assert_same_results(tmp_path / "one", tmp_path / "two")


ON_JAX = ["--model", "one-block", "--epochs", "2", "--batch-size", "28"]  # can be divided among devices, an epoch's last 23 can't


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory, squares):
    folder = tmp_path_factory.mktemp("jax") / "one"
    trained(folder, squares, *ON_JAX, backend="jax")
    return folder


def test_jax_trains_on_several_devices_as_on_one(squares, on_one_device, tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    trained(tmp_path / "r", squares, *ON_JAX, backend="jax")
    environment = json.loads((tmp_path / "r/output/r/environment.json").read_text())
    assert environment["device"].count("cpu") == 4
    assert difference(on_one_device, tmp_path / "r") < ROUNDING
    assert_same_results(on_one_device, tmp_path / "r")


def test_jax_trains_in_several_processes_as_in_one(squares, on_one_device, train_together, tmp_path):
    first, second = train_together(tmp_path / "r", squares, *ON_JAX, backend="jax")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    told = [line for line in second.stdout.splitlines() if not line.startswith("[Gloo]")]  # a library of JAX's speaks for itself
    assert first.stdout.count("epoch 2/2") == 1 and not told
    assert json.loads((tmp_path / "r/output/r/environment.json").read_text())["processes"] == 2
    assert difference(on_one_device, tmp_path / "r") < ROUNDING
    assert_same_results(on_one_device, tmp_path / "r")


@pytest.fixture(scope="module")
def digits():
    return load("digits", images_per_class=8)


@settings(max_examples=40)
@given(st.integers(1, 5), st.sampled_from(["standard", "none"]), st.sampled_from([0.0, 0.4]), st.integers(0, 2))
def test_shares_of_a_batch_are_the_batch(digits, shares, augment, alpha, step):

    def batch():
        how = Augmentation(augment=augment, mixup_alpha=alpha, cutmix_alpha=alpha)
        return [np.asarray(part) for part in TrainingBatches(digits, 33, 0, how, class_weights="balanced")[step]]

    with pytest.MonkeyPatch.context() as patch:
        whole, parts = batch(), []
        patch.setattr(replicas, "NUM_SHARDS", shares)
        for share in range(shares):
            patch.setattr(replicas, "SHARD_INDEX", share)
            parts.append(batch())
    for one, several in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_allclose(np.concatenate(several), one, atol=1e-6)


KILLED_ONCE = """
import os, pathlib, signal
from foundation import replicas
from callbacks.progress import Progress
ordinary = Progress.on_train_batch_end
def on_train_batch_end(self, batch, logs=None):
    ordinary(self, batch, logs)
    if replicas.RANK == 1 and self.epoch == 1 and batch == 3 and not pathlib.Path("killed").exists():
        pathlib.Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
Progress.on_train_batch_end = on_train_batch_end
import train
from foundation.scripts import run_script
run_script(train.main)
"""


def test_a_killed_worker_is_started_again_and_nothing_is_lost(squares, train_together, tmp_path):
    (tmp_path / "killed.py").write_text(KILLED_ONCE)
    flags = ["--epochs", "3", "--ema-decay", "0.9"]
    train_together(tmp_path / "whole", squares, *flags)
    first, killed = train_together(tmp_path / "r", squares, *flags, script=tmp_path / "killed.py")
    assert (first.returncode, killed.returncode) == (1, -signal.SIGKILL)
    assert first.stderr.count("error: ") == 1 and "another process of this run ended" in first.stderr
    first, second = train_together(tmp_path / "r", squares, *flags, script=tmp_path / "killed.py")
    assert (first.returncode, second.returncode) == (0, 0) and "resuming run 'r' from epoch-00001" in first.stdout
    assert_same_run(newest_weights(tmp_path / "whole", "r"), newest_weights(tmp_path / "r", "r"))


# Before the fourth step of the second epoch each process waits for its signal.
WAITS = """
import pathlib, time
from callbacks.checkpoint import Checkpoint
from foundation import replicas
Checkpoint.agreement = 1
ordinary = Checkpoint.on_train_batch_begin
def on_train_batch_begin(self, batch, logs=None):
    if (self.batches.epoch, batch) == (1, 3):
        pathlib.Path(f"waits-{replicas.RANK}").touch()
        while self.signal is None:
            time.sleep(0.05)
    ordinary(self, batch, logs)
Checkpoint.on_train_batch_begin = on_train_batch_begin
import train
from foundation.scripts import run_script
run_script(train.main)
"""


def test_a_stopped_run_goes_on_in_one_process(squares, tmp_path):
    """As torchrun starts it, and passes the signal on."""
    (tmp_path / "waits.py").write_text(WAITS)
    flags = ["--epochs", "3", "--norm", "group"]
    command = [sys.executable, *TORCHRUN, "--", tmp_path / "waits.py", "--dataset", squares, *SETTINGS, *flags]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    with subprocess.Popen(list(map(str, command)), cwd=tmp_path, **streams) as process:
        while len(list(tmp_path.glob("waits-*"))) < 2 and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate()
    assert b"stopped with everything written" in out, errors.decode()
    assert json.loads((tmp_path / "output/r/history.json").read_text())["epoch"] == [1]
    resumed = trained(tmp_path, squares, *flags)
    assert "resuming run 'r' from epoch-00001-step-0000003" in resumed.stdout and "epoch 3/3" in resumed.stdout


FAULT = """
import datasets.catalog
from foundation import replicas
from foundation.errors import UserError
from foundation.scripts import run_script
ordinary = datasets.catalog.load
def load(*arguments, **options):
    if replicas.RANK == 1:
        raise UserError("the folder is missing here")
    return ordinary(*arguments, **options)
datasets.catalog.load = load
import train
run_script(train.main)
"""


def test_all_fail_together_with_one_line(squares, train_together, tmp_path):
    (tmp_path / "fault.py").write_text(FAULT)
    both = train_together(tmp_path, squares, script=tmp_path / "fault.py")
    said = "".join(process.stderr for process in both)
    assert [process.returncode for process in both] == [2, 2] and said.count("error: ") == 1, said
    assert "error: process 1: the folder is missing here" in said and not (tmp_path / "output/r/config.json").exists()
    both = train_together(tmp_path, squares, "--model", "resnet21")
    assert "".join(process.stderr for process in both).count("error: unknown model 'resnet21'") == 1


def test_what_can_not_be_is_said(squares, train_together, tmp_path, monkeypatch):
    both = train_together(tmp_path, squares, "--batch-size", "134")
    assert "last batch has fewer images than there are processes" in "".join(process.stderr for process in both)
    monkeypatch.setenv("WORLD_SIZE", "2")
    process = train(tmp_path, squares, backend="tensorflow")
    assert process.returncode == 2 and "on tensorflow a run has one process and one device" in process.stderr
