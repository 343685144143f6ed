"""What must not cost a user their work: kill -9, full disks, diverging losses, damaged files, changed data, bad input."""

import json
import time

import numpy as np
import pytest
from conftest import ROOT, run_python, write_images
from PIL import Image
from whole_runs import EVERYTHING, SETTINGS, assert_same_run, checkpoints, newest_weights, start, train

ADAM = ["--optimizer", "adam", "--init-lr", "0.002", "--schedule", "plateau", "--checkpoint-minutes", "0.0005"]
SGD = ["--schedule", "cosine", "--checkpoint-minutes", "0.0005", *EVERYTHING]
# Of an epoch, all with 12 images: a last, smaller batch would be compiled for itself.
SIX_STEPS = ["--model", "one-block", "--batch-size", "12", "--val-fraction", "0.2"]


def kill_and_resume(folder, image_folder, seed, runs, flags):
    command = [ROOT / "tests" / "killing.py", folder, str(seed), str(runs), "--dataset", f"folder:{image_folder}", *SETTINGS]
    process = run_python(*command, "--model", "one-block", "--epochs", "4", "--data-dir", folder / "data", *flags, cwd=folder)
    assert process.returncode == 0, process.stderr
    endings = process.stdout.splitlines()
    assert endings[0] == "whole 0" and sum(line.endswith("finished 0") for line in endings) == runs, process.stdout
    assert all(line.endswith(("-9", "finished 0")) for line in endings[1:]), process.stdout
    return endings


@pytest.mark.parametrize(("flags", "runs"), [(SGD, 5), (ADAM, 3)], ids=["SGD, cosine, mixup, average", "Adam, plateau"])
def test_killed_runs_resume_to_the_very_same_bits(flags, runs, image_folder, tmp_path):
    kill_and_resume(tmp_path, image_folder, seed=1, runs=runs, flags=flags)
    whole = newest_weights(tmp_path, "whole")
    for i in range(runs):
        assert_same_run(whole, newest_weights(tmp_path, str(i)))
        assert (tmp_path / f"output/{i}/metrics.json").exists()


def test_without_addressed_randomness_a_killed_run_is_another_run(image_folder, tmp_path):
    """The control: the comparison above can fail."""
    command = [ROOT / "tests" / "killing_consumed.py", tmp_path, "1", "2", "--dataset", f"folder:{image_folder}", *SETTINGS]
    process = run_python(*command, "--model", "one-block", "--epochs", "4", *SGD, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    with pytest.raises(AssertionError):
        for i in range(2):
            assert_same_run(newest_weights(tmp_path, "whole"), newest_weights(tmp_path, str(i)))


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_a_killed_run_resumes_to_the_very_same_bits_elsewhere(backend, image_folder, tmp_path):
    flags = ["--epochs", "3", "--run", "r", *SGD, *SIX_STEPS]
    (tmp_path / "killed").mkdir()
    (tmp_path / "whole").mkdir()
    (tmp_path / "kill.py").write_text(KILL)
    killed = train(tmp_path / "killed", image_folder, *flags, backend=backend, script=tmp_path / "kill.py")
    assert killed.returncode == -9, killed.stderr
    resumed = train(tmp_path / "killed", image_folder, *flags, backend=backend)
    assert "resuming run 'r' from epoch-00001-step-0000003" in resumed.stdout, resumed.stderr
    assert train(tmp_path / "whole", image_folder, *flags, backend=backend).returncode == 0
    assert_same_run(newest_weights(tmp_path / "whole", "r"), newest_weights(tmp_path / "killed", "r"))


# Killed in the second epoch, while the checkpoint after its fourth step is being written.
KILL = """
import os, signal
import lab.runs.checkpoints
from callbacks.checkpoint import Checkpoint
ordinary = lab.runs.checkpoints.write_through
def write_through(path, data):
    ordinary(path, data)
    if path.name == "state.json" and b'"epoch": 1, "step": 4' in data:
        os.kill(os.getpid(), signal.SIGKILL)
lab.runs.checkpoints.write_through = write_through
save = Checkpoint.on_train_batch_begin
def after_every_step(self, batch, logs=None):
    self.interval = 0.0
    save(self, batch, logs)
Checkpoint.on_train_batch_begin = after_every_step
import train
from foundation.scripts import run_script
run_script(train.main)
"""


def test_what_no_network_can_have_is_known_before_the_data(tmp_path):
    flags = ["--dataset", "folder:nowhere", "--model", "plain20", "--stochastic-depth", "0.5"]
    process = run_python(ROOT / "train.py", *flags, cwd=tmp_path)
    assert process.returncode == 2 and "plain20 can't be built so: stochastic_depth=0.5 needs a skip" in process.stderr
    assert process.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_run_out_of_time_ends_with_124_and_goes_on(image_folder, tmp_path):
    flags = ["--epochs", "4", "--run", "r", *EVERYTHING]
    stopped = train(tmp_path, image_folder, *flags, "--start-epoch", "0", "--max-minutes", "0.001")
    assert stopped.returncode == 124, stopped.stderr
    again = stopped.stdout.partition("go on with: python")[2]
    assert "--max-minutes 0.001" in again and again.count("--start-epoch") == again.count("--start-epoch None") == 1
    assert len(checkpoints(tmp_path)) == 1 and "step" in checkpoints(tmp_path)[0]
    resumed = train(tmp_path, image_folder, *flags)
    assert "resuming run 'r'" in resumed.stdout and resumed.returncode == 0, resumed.stderr


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_run_that_diverges_says_where_and_keeps_its_good_checkpoint(backend, image_folder, tmp_path):
    flags = ["--epochs", "3", "--run", "r", "--schedule", "constant", "--init-lr", "0.1", *SIX_STEPS]
    (tmp_path / "diverge.py").write_text(DIVERGE)
    process = train(tmp_path, image_folder, *flags, backend=backend, script=tmp_path / "diverge.py")
    assert process.returncode == 1 and "Traceback" not in process.stderr, process.stderr
    assert "training diverged in epoch 2, step 4 of 6, learning rate 0.1" in process.stderr
    assert "first those of stage1_block1/conv2/kernel" in process.stderr
    assert checkpoints(tmp_path) == ["epoch-00001"]
    history = json.loads((tmp_path / "output/r/history.json").read_text())
    assert history["epoch"] == [1] and np.isfinite(history["loss"]).all()


# At the tenth step the gradient of one kernel, and with it what lies before, is no longer finite.
DIVERGE = """
import keras
from lab.optimizers.optimizer import make_optimizer
import lab.training.fitting
def make(config, rate):
    optimizer = make_optimizer(config, rate)
    watch = type(optimizer).record_gradient_norms
    def spoilt(self, norms):
        names = [variable.path for variable in self.moved.weights]
        reached = keras.ops.arange(len(names)) <= names.index("stage1_block1/conv2/kernel")
        is_now = keras.ops.logical_and(reached, self.iterations.value >= 9)
        watch(self, keras.ops.where(is_now, float("nan"), norms))
    type(optimizer).record_gradient_norms = spoilt
    return optimizer
lab.training.fitting.make_optimizer = make
import train
from foundation.scripts import run_script
run_script(train.main)
"""


def test_a_learning_rate_far_too_large_is_one_line(image_folder, tmp_path):
    process = train(tmp_path, image_folder, "--epochs", "3", "--run", "r", "--schedule", "constant", "--init-lr", "1e30")
    assert process.returncode == 1 and process.stderr.count("\n") == 1, process.stderr
    assert "training diverged in epoch 1, step" in process.stderr and "try a smaller init_lr" in process.stderr


def test_a_run_does_not_go_on_with_other_data_or_another_backend(tmp_path):
    write_images(tmp_path / "set/train", ("a", "b"), 20)
    flags = ["--epochs", "2", "--n", "1", "--run", "r"]
    assert train(tmp_path, tmp_path / "set", *flags).returncode == 0
    before = newest_weights(tmp_path, "r")
    elsewhere = train(tmp_path, tmp_path / "set", *flags, backend="jax")
    assert elsewhere.returncode == 2 and "another KERAS_BACKEND (torch, now jax)" in elsewhere.stderr
    Image.new("RGB", (12, 12), "red").save(tmp_path / "set/train/a/003.png")
    changed = train(tmp_path, tmp_path / "set", *flags)
    assert changed.returncode == 2 and "another content of the data set" in changed.stderr
    measured = run_python(ROOT / "evaluate.py", "r", cwd=tmp_path)
    assert measured.returncode == 2 and "has changed since run 'r'" in measured.stderr
    assert_same_run(before, newest_weights(tmp_path, "r"))


def test_every_pixel_label_and_class_counts_in_a_fingerprint(image_folder, tmp_path):
    from dataclasses import replace

    from datasets.catalog import load

    dataset = load(f"folder:{image_folder}", tmp_path)
    prints = {dataset.fingerprint}
    assert prints == {load(f"folder:{image_folder}", tmp_path).fingerprint}
    pixels = dataset.test.read()
    pixels[-1, -1, -1, -1] ^= 1
    labels = dataset.val.labels.copy()
    labels[0] ^= 1
    prints |= {
        replace(dataset, test=replace(dataset.test, images=pixels, rows=None)).fingerprint,
        replace(dataset, val=replace(dataset.val, labels=labels)).fingerprint,
        replace(dataset, class_names=("dark", "grey", "bright")).fingerprint,
        load(f"folder:{image_folder}", tmp_path, seed=1).fingerprint,
    }
    assert len(prints) == 5


def test_two_processes_started_together_on_one_run(image_folder, tmp_path):
    flags = ["--n", "1", "--run", "r", "--epochs", "5000"]
    both = [start(tmp_path, image_folder, *flags) for _ in range(2)]
    while all(process.poll() is None for process in both):
        time.sleep(0.02)
    refused, other = sorted(both, key=lambda process: process.poll() is None)
    assert refused.returncode == 2 and f"run 'r' is being written by process {other.pid} on " in refused.stderr
    assert other.poll() is None, other.stderr
    other.kill()
    other.wait()


@pytest.mark.parametrize("flag", ["--output-dir=/proc/nowhere", "--weights-dir=file/below", "--data-dir=/proc/nowhere"])
def test_a_folder_that_can_not_be_written_is_one_line(flag, image_folder, tmp_path):
    (tmp_path / "file").write_text("")
    process = train(tmp_path, image_folder, "--epochs", "1", "--warmup-epochs", "0", "--run", "r", flag)
    assert process.returncode == 2 and process.stderr.count("\n") == 1, process.stderr
    assert flag.partition("=")[2] in process.stderr


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "x" * 200, "..", "nul\0"])
def test_a_runs_name_stays_inside_its_folder(name, tmp_path):
    if name and "\0" not in name:
        process = run_python(ROOT / "train.py", "--run", name, cwd=tmp_path)
        assert process.returncode == 2 and "letters, digits" in process.stderr
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["--init-lr=-1e999", "--epochs=ä", "--model=[]", "--seed=", "--padding=--", "--ema-decay=nan"])
def test_a_mistake_leaves_nothing_behind(flag, tmp_path):
    """A sample of what hypothesis tries within one process, through the front door."""
    process = run_python(ROOT / "train.py", flag, cwd=tmp_path)
    assert process.returncode == 2 and process.stderr.startswith("error: ") and process.stderr.count("\n") == 1, process.stderr
    assert list(tmp_path.iterdir()) == []
