"""Whole runs: what they leave on disk, how they resume, what they refuse."""

import json
import signal
import subprocess
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
from conftest import ROOT, run_python, write_images
from PIL import Image
from whole_runs import EVERYTHING, assert_same_run, checkpoints, newest_weights, start, train

from foundation.errors import UserError
from foundation.settings import Config
from lab.reports.finished import Finished
from lab.runs.metrics import metrics_of
from lab.runs.predictions import predictions_of
from lab.runs.run import Run
from lab.training.evaluation import cross_entropy


@pytest.fixture(scope="module")
def whole(tmp_path_factory, image_folder):
    """An uninterrupted run of four epochs with everything on."""
    folder = tmp_path_factory.mktemp("whole")
    process = train(folder, image_folder, "--epochs", "4", "--run", "r", *EVERYTHING, draws=True)
    assert process.returncode == 0, process.stderr
    return folder, process


def test_a_run_leaves_what_the_contract_says(whole):
    folder, process = whole
    output = folder / "output" / "r"
    names = "config chosen classes environment history flow identity metrics overlap preprocessing speed"
    names = {f"{name}.json" for name in names.split()} | {"training.png", "confusion.png", "predictions.npz"}
    assert {path.name for path in output.iterdir() if not path.name.startswith(".")} == names
    config, environment, history, metrics, speed = (
        json.loads((output / f"{name}.json").read_text()) for name in ("config", "environment", "history", "metrics", "speed")
    )
    assert config["epochs"] == 4 and config["model"] == "xresnet20"
    assert environment["backend"] == "torch" and environment["versions"]["keras"] == "3.15.1" and environment["seed"] == 0
    assert next(iter(history)) == "epoch" and history["epoch"] == [1, 2, 3, 4]
    measures = {"loss", "accuracy", "f1_macro"}
    assert set(history) == {"epoch", "learning_rate"} | measures | {f"val_{name}" for name in measures}
    assert {len(values) for values in history.values()} == {4}
    assert speed["epoch"] == history["epoch"] and len(speed["images_per_second"]) == 4 and min(speed["images_per_second"]) > 0
    for split, images in (("train", 81), ("val", 9), ("test", 24)):
        assert metrics[split]["images"] == images
        assert {"loss", "accuracy", "f1_micro", "f1_macro"} <= metrics[split].keys()
    assert {"epochs", "seconds", "images_per_second", "params", "macs"} <= metrics.keys()
    for picture in ("training.png", "confusion.png"):
        assert Image.open(output / picture).size[0] > 400
    assert "micro F1" in process.stdout and "images/s" in process.stdout


def test_val_metrics_in_the_history_are_those_of_the_averaged_weights(whole):
    folder, _ = whole
    history = json.loads((folder / "output/r/history.json").read_text())
    metrics = json.loads((folder / "output/r/metrics.json").read_text())
    best = metrics["best_epoch"] - 1
    for name in ("accuracy", "f1_macro"):
        assert metrics["val"][name] == pytest.approx(history[f"val_{name}"][best], abs=1e-6)
    assert metrics["val"]["loss"] == pytest.approx(history["val_loss"][best], rel=1e-4)


def test_only_the_newest_checkpoints_and_the_best_are_kept(whole):
    folder, _ = whole
    kept = {path.name for path in (folder / "weights/r").iterdir()}
    best = json.loads((folder / "output/r/metrics.json").read_text())["best_epoch"]
    assert kept == {"epoch-00003", "epoch-00004", f"epoch-{best:05d}"}


def test_evaluate_measures_a_run_again_to_the_same_numbers(whole):
    folder, _ = whole
    before = (folder / "output/r/metrics.json").read_text()
    process = run_python(ROOT / "evaluate.py", "r", cwd=folder, draws=True)
    assert process.returncode == 0, process.stderr
    assert (folder / "output/r/metrics.json").read_text() == before


def test_the_predictions_of_a_run_are_those_of_its_metrics_and_name_their_files(whole, image_folder):
    run = Run.find("r", whole[0] / "output")
    for split in ("val", "test"):
        found, measured = predictions_of(run, split), metrics_of(run)[split]
        assert cross_entropy(found.logits, found.labels).mean() == pytest.approx(measured["loss"])
        assert found.is_right.mean() == pytest.approx(measured["accuracy"])
        assert all((image_folder / image).is_file() for image in found.images)
    (run.output / "predictions.npz").rename(run.output / "kept.npz")  # as a run of an earlier version
    try:
        anew = Finished(run, "r").predictions("test")
    finally:
        (run.output / "kept.npz").rename(run.output / "predictions.npz")
    assert anew.images == found.images and np.allclose(anew.logits, found.logits, atol=1e-5)
    size = (run.output / "predictions.npz").stat().st_size
    assert f"logits of val and test are in predictions.npz ({size / 1e3:,.0f} kB)" in whole[1].stdout


def test_evaluate_names_the_nearest_run(whole):
    process = run_python(ROOT / "evaluate.py", "rr", cwd=whole[0])
    assert process.returncode == 2 and "did you mean 'r'?" in process.stderr


def test_the_same_command_again_changes_nothing(whole, image_folder):
    folder, _ = whole
    before = newest_weights(folder, "r")
    process = train(folder, image_folder, "--epochs", "4", "--run", "r", *EVERYTHING)
    assert process.returncode == 0, process.stderr
    assert "run 'r' is finished" in process.stdout
    assert_same_run(before, newest_weights(folder, "r"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--epochs", "4", "--init-lr", "0.3"], "init_lr chosen by rule -> 0.3"),
        (["--epochs", "5"], "epochs 4 -> 5"),
        (["--epochs", "4", "--resume", "never"], "run 'r' exists"),
        (["--epochs", "4", "--start-epoch", "1"], "no checkpoint of start_epoch 1"),
    ],
)
def test_a_run_of_other_settings_is_never_overwritten(whole, image_folder, flags, words):
    folder, _ = whole
    before = newest_weights(folder, "r")
    process = train(folder, image_folder, "--run", "r", *EVERYTHING, *flags)
    assert process.returncode == 2 and words in process.stderr and process.stderr.count("\n") == 1
    assert_same_run(before, newest_weights(folder, "r"))


def test_a_folder_that_is_no_run_is_never_written_into(tmp_path, image_folder):
    (tmp_path / "output/r").mkdir(parents=True)
    (tmp_path / "output/r/thesis.txt").write_text("precious")
    process = train(tmp_path, image_folder, "--run", "r")
    assert process.returncode == 2 and "is no run" in process.stderr
    assert [path.name for path in (tmp_path / "output/r").iterdir()] == ["thesis.txt"]


def test_images_too_small_for_the_settings_are_known_before_anything_is_written(tmp_path, image_folder):
    for flags, reason in (("--max-shift 12", "max_shift is 12"), ("--start-size 16 --growth-epochs 1", "start_size is 16")):
        failed = train(tmp_path, image_folder, "--run", "r", *flags.split())
        assert failed.returncode == 2 and reason in failed.stderr
    assert not (tmp_path / "output").exists() and not (tmp_path / "weights").exists()


def test_a_start_that_failed_leaves_the_name_free(tmp_path, image_folder):
    failed = train(tmp_path, image_folder, "--run", "r", "--epochs", "7", "--start-epoch", "5")
    assert failed.returncode == 2 and "no checkpoint of start_epoch 5" in failed.stderr
    process = train(tmp_path, image_folder, "--run", "r", "--epochs", "1", "--warmup-epochs", "0")
    assert process.returncode == 0, process.stderr
    again = train(tmp_path, image_folder, "--run", "r", "--max-shift", "3")
    assert again.returncode == 2 and "exists with other settings" in again.stderr


def test_a_part_asked_for_is_the_same_setting_as_one_that_the_model_has(tmp_path):
    own = Config(output_dir=str(tmp_path / "o"), weights_dir=str(tmp_path / "w"), model="resnet20")
    run = Run.of(own)
    run.output.mkdir(parents=True)
    run.write_json("config.json", asdict(own))
    run.write_json("metrics.json", {})
    run.check(replace(own, norm="batch", norm_groups=8, stochastic_depth=0.0, n=3))
    for other in ({"norm": "group"}, {"n": 2}, {"stochastic_depth": 0.1}):
        with pytest.raises(UserError, match=f"exists with other settings .{next(iter(other))} "):
            run.check(replace(own, **other))


def test_a_network_that_small_images_do_not_fit_is_one_line(tmp_path, image_folder):
    flags = ["--model", "resnet18", "--norm", "instance", "--start-size", "8", "--growth-epochs", "1"]
    process = train(tmp_path, image_folder, "--image-size", "16", *flags)
    assert process.returncode == 2 and "instance norm needs more than one pixel" in process.stderr, process.stderr
    assert process.stderr.count("\n") == 1 and not (tmp_path / "output").exists()


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.stdout + process.stderr
        time.sleep(0.005)


STOP_WITHIN = """
import signal
from callbacks.checkpoint import Checkpoint
ordinary = Checkpoint.on_train_batch_begin
def stop_after_step_3_of_epoch_2(self, batch, logs=None):
    if (self.batches.epoch, batch) == (1, 3):
        signal.raise_signal({number})
    ordinary(self, batch, logs)
Checkpoint.on_train_batch_begin = stop_after_step_3_of_epoch_2
import train
from foundation.scripts import run_script
run_script(train.main)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_stopped_within_an_epoch_resumes_to_the_same_weights(number, whole, image_folder, tmp_path):
    """From that very step, unless it was killed and could write nothing more."""
    flags = ["--epochs", "4", "--run", "r", *EVERYTHING]
    (tmp_path / "stop.py").write_text(STOP_WITHIN.format(number=int(number)))
    stopped = train(tmp_path, image_folder, *flags, script=tmp_path / "stop.py")
    is_killed = number == signal.SIGKILL
    assert stopped.returncode == (-number if is_killed else 128 + number), stopped.stderr
    assert ("stopped with everything written" in stopped.stdout) != is_killed
    written = ["epoch-00001"] if is_killed else ["epoch-00001", "epoch-00001-step-0000003"]
    assert checkpoints(tmp_path) == written
    resumed = train(tmp_path, image_folder, *flags)
    assert f"resuming run 'r' from {written[-1]}" in resumed.stdout, resumed.stderr
    assert_same_run(newest_weights(whole[0], "r"), newest_weights(tmp_path, "r"))


def test_a_run_that_stopped_has_said_how_it_sees_images_and_is_not_exported(image_folder, tmp_path):
    flags = ["--n", "1", "--epochs", "4", "--run", "r", "--max-minutes", "0.001"]
    assert train(tmp_path, image_folder, *flags).returncode == 124
    assert json.loads((tmp_path / "output/r/preprocessing.json").read_text())["image_size"] == 8
    exported = run_python(ROOT / "export.py", "r", cwd=tmp_path)
    assert exported.returncode == 2 and "run 'r' is not finished" in exported.stderr


@pytest.mark.parametrize("file", ["model.safetensors", "training.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "zeroed", "flipped", "missing"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_serves(file, damage, whole, image_folder, tmp_path):
    from callbacks.monitor import TrainingMonitor  # noqa: F401  Keras is loaded before the folder is copied
    from lab.runs.checkpoints import newest_whole

    folder = tmp_path / "r"
    subprocess.run(["cp", "-r", whole[0] / "weights/r", folder], check=True)
    path = folder / "epoch-00004" / file
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "zeroed":
        path.write_bytes(bytes(len(data)))
    else:
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
    found, files = newest_whole(folder, sets_aside=True)
    assert found.name == "epoch-00003" and json.loads(files["state.json"])["epoch"] == 3
    assert (folder / "damaged-epoch-00004").is_dir() and not (folder / "epoch-00004").exists()


def test_a_checkpoint_without_half_its_files_is_set_aside(whole, tmp_path):
    from lab.runs.checkpoints import newest_whole

    folder = tmp_path / "r"
    subprocess.run(["cp", "-r", whole[0] / "weights/r", folder], check=True)
    for file in ("model.safetensors", "manifest.json"):
        (folder / "epoch-00004" / file).unlink()
    assert newest_whole(folder, sets_aside=True)[0].name == "epoch-00003"
    assert len(list((folder / "damaged-epoch-00004").iterdir())) == 2


def test_looking_at_a_run_leaves_a_damaged_checkpoint_where_it_is(whole, tmp_path, capsys):
    from lab.runs.checkpoints import best_weights

    folder = tmp_path / "r"
    subprocess.run(["cp", "-r", whole[0] / "weights/r", folder], check=True)
    run = Run("r", whole[0] / "output", tmp_path)
    best = best_weights(run)
    (folder / "epoch-00099").mkdir()
    before = sorted(folder.rglob("*"))
    found = best_weights(run)
    assert found.keys() == best.keys() and all(np.array_equal(found[path], best[path]) for path in best)
    assert sorted(folder.rglob("*")) == before
    assert "epoch-00099 is damaged" in capsys.readouterr().out


def test_broken_images_are_told_of_and_the_run_goes_on(tmp_path):
    write_images(tmp_path / "set/train", ("a", "b"), 20)
    (tmp_path / "set/train/a/001.png").write_bytes(b"broken")
    process = train(tmp_path, tmp_path / "set", "--epochs", "1", "--warmup-epochs", "0")
    assert process.returncode == 0, process.stderr
    assert "note: 1 file of train was left out" in process.stdout


def test_a_run_has_one_writer_and_a_dead_one_leaves_no_lock(image_folder, tmp_path):
    flags = ["--epochs", "500", "--run", "r"]
    first = start(tmp_path, image_folder, *flags)
    try:
        wait_for(lambda: "epoch-00001" in checkpoints(tmp_path), first)
        second = train(tmp_path, image_folder, *flags)
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 2 and second.stderr.count("\n") == 1
    assert f"run 'r' is being written by process {first.pid} on " in second.stderr
    third = start(tmp_path, image_folder, *flags)
    try:
        wait_for(lambda: "resuming run 'r'" in third.stdout, third)
    finally:
        third.kill()
        third.wait()
