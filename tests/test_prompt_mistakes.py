"""A user's mistake that needs no network is told before Keras is imported, which takes seconds."""

import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from conftest import ROOT
from PIL import Image

from foundation.errors import UserError
from foundation.settings import Config
from lab.runs.run import Run
from lab.training.transfer_settings import check_transfer

# Runs a script as `python SCRIPT ARGUMENTS` does; the last line says which of the slow libraries it has imported by its end.
PROGRAM = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[2:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print({"keras", "torch", "jax", "tensorflow", "keras_cv", "streamlit", "ray"} & sys.modules.keys() or "", file=sys.stderr)
"""

MISTAKES = [
    ("train.py --dataset cifar11", "did you mean 'cifar10'"),
    ("train.py --dataset folder:nowhere", "nowhere"),
    ("train.py --dataset digits:9-3", "digits:9-3"),
    ("train.py --model resnet2O", "did you mean 'resnet20'"),
    ("train.py --model plain20 --stochastic-depth 0.5", "needs a skip"),
    ("train.py --run finished --epochs 3", "exists with other settings"),
    ("train.py --init-from finishe", "did you mean 'finished'"),
    ("train.py --init-from nowhere.safetensors", "can't be read"),
    ("train.py --init-from finished --freeze stages:2-4", "within 1 to 3"),
    ("train.py --find-lr --init-from finishe", "did you mean 'finished'"),
    ("train.py --epoch 3", "did you mean '--epochs'"),
    ("train.py --epochs 0", "epochs is 0"),
    ("evaluate.py finishe", "did you mean 'finished'"),
    ("evaluate.py nothing --output-dir nowhere", "unknown run 'nothing' (there is none; runs are the folders of nowhere)"),
    ("evaluate.py", "which run?"),
    ("export.py finishe", "did you mean 'finished'"),
    ("export.py begun", "run 'begun' is not finished"),
    ("export.py finished --formats onx", "did you mean 'onnx'"),
    ("predict.py finishe picture.png", "did you mean 'finished'"),
    ("predict.py finished nowhere.png", "nowhere.png"),
    ("predict.py nowhere.onnx picture.png", "nowhere.onnx"),
    ("explain.py finishe", "did you mean 'finished'"),
    ("explain.py finished --run finishe", "did you mean 'finished'"),
    ("explain.py nothing-*", "no finished run"),
    ("explain.py finished --method gradcam", "did you mean 'grad-cam'"),
    ("explain.py finished --images nowhere.png", "nowhere.png"),
    ("explain.py finished --count 0", "--count is '0', allowed: a whole number, at least 1"),
    ("visualize.py trainings finished", "did you mean 'training'"),
    ("visualize.py training finishe", "did you mean 'finished'"),
    ("visualize.py curves begun", "run 'begun' is not finished"),
    ("visualize.py gap finished", "compares two runs, received 1"),
    ("visualize.py gradients finished", "recorded no gradients"),
    ("visualize.py landscape finished --grid 4", "odd numbers"),
    ("study.py depht", "did you mean 'depth'"),
    ("study.py depth --scale huge", "unknown scale"),
    ("study.py depth --set initlr=1", "did you mean 'init_lr'"),
    ("study.py depth --data folder:nowhere --dry-run --arms nothing", "no arm matches"),
    ("study.py depth --results nowhere.md", "study 'depth' has no published runs in results"),
    ("benchmark.py throughput --model resnet2O", "did you mean 'resnet20'"),
    ("benchmark.py latency resnet2O", "did you mean 'resnet20'"),
    ("benchmark.py cost resnet2O", "did you mean 'resnet20'"),
    ("benchmark.py cost --runs nothing-*", "no finished run"),
    ("benchmark.py epoch --model resnet2O", "did you mean 'resnet20'"),
    ("benchmark.py profile --model resnet2O", "did you mean 'resnet20'"),
    ("benchmark.py scaling resnet2O", "did you mean 'resnet20'"),
    ("dispatcher.py resnet2O", "did you mean 'resnet20'"),
    ("dispatcher.py --classes 0", "classes is 0"),
    ("dashboard.py --port 99999", "--port is 99999, allowed: 1 to 65535"),
    ("dashboard.py --port much", "--port is 'much', allowed: a whole number (python dashboard.py --help)"),
    ("study.py depth --seeds", "--seeds needs a value"),
    ("predict.py finished", "required: IMAGE"),
    ("explain.py finished --cuont 3", "unknown flag '--cuont'; did you mean '--count'"),
    ("evaluate.py finished begun", "'begun' belongs to no flag"),
    ("benchmark.py speed", "invalid choice: 'speed' (choose from"),
    ("benchmark.py latency resnet20 --clals 3", "did you mean '--calls'"),
    ("benchmark.py latency resnet20 --calls 0", "--calls is '0', allowed: a whole number, at least 1"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what records a finished run and one that has begun, without weights."""
    folder = tmp_path_factory.mktemp("records")
    for name in ("finished", "begun"):
        run = Run(name, folder / "output", folder / "weights")
        run.output.mkdir(parents=True)
        run.write_json("config.json", asdict(Config(run=name)))
    measured = {"loss": 1.0, "accuracy": 0.5, "f1_micro": 0.5, "f1_macro": 0.5, "images": 9}
    numbers = {"epochs": 20, "best_epoch": 3, "params": 9, "macs": 9, "seconds": 1.0, "images_per_second": 1.0}
    Run("finished", folder / "output", folder).write_json(
        "metrics.json", numbers | dict.fromkeys(("train", "val", "test"), measured)
    )
    Image.new("RGB", (8, 8)).save(folder / "picture.png")
    return folder


def told(command, folder, **environment):
    """Exit code, lines of the error stream, and the slow libraries that were imported."""
    line = [sys.executable, "-c", PROGRAM, ROOT, ROOT / command.split()[0], *command.split()[1:]]
    process = subprocess.run(list(map(str, line)), cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    *lines, imported = process.stderr.splitlines()
    return process.returncode, lines, imported


@pytest.mark.parametrize(("command", "words"), MISTAKES)
def test_a_mistake_is_told_before_keras_is_imported(command, words, folder):
    code, lines, imported = told(command, folder)
    assert code == 2 and words in lines[-1] and len(lines) == 1, lines
    assert not imported


@pytest.mark.parametrize("command", ["norms", "profile", "cost resnet20"])
def test_a_benchmark_for_another_backend_is_told_so(command, folder):
    code, lines, imported = told(f"benchmark.py {command}", folder, KERAS_BACKEND="jax")
    assert code == 2 and "KERAS_BACKEND must be torch" in lines[-1] and not imported


def test_a_backend_that_there_is_not_is_told_at_once(folder):
    code, lines, imported = told("train.py", folder, KERAS_BACKEND="pytorch")
    assert code == 2 and "did you mean 'torch'" in lines[-1] and not imported


def test_a_run_that_has_begun_needs_the_source_of_its_first_weights_no_more(folder):
    config = Config(init_from="deleted", output_dir=str(folder / "output"))
    check_transfer(replace(config, run="begun"))
    with pytest.raises(UserError, match="unknown run 'deleted'"):
        check_transfer(replace(config, run="new"))
