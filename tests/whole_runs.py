"""Runs of `train.py` from the command line, and what says that two are the same."""

import json
from pathlib import Path

import numpy as np
from conftest import ROOT, run_python
from processes import start_python
from safetensors.numpy import load_file

SETTINGS = ["--model", "xresnet20", "--batch-size", "16", "--warmup-epochs", "0.5", "--image-size", "8"]
# Every part that a checkpoint must remember is on: momentum, schedule, mixup, moving average, early stopping.
EVERYTHING = [
    "--mixup-alpha",
    "0.3",
    "--ema-decay",
    "0.9",
    "--early-stopping-patience",
    "50",
    "--nesterov",
    "--label-smoothing",
    "0.1",
    "--track-f1",
    "--track-gradients",
    "--gradient-clip",
    "3",
    "--accumulate",
    "2",
]


def train(folder, image_folder, *flags, script="train.py", **options):
    return run_python(ROOT / script, "--dataset", f"folder:{image_folder}", *SETTINGS, *flags, cwd=folder, **options)


def newest_weights(folder, name):
    newest = sorted(path for path in (folder / "weights" / name).iterdir() if path.name.startswith("epoch-"))[-1]
    return {part: load_file(newest / f"{part}.safetensors") for part in ("model", "training")} | {
        "state": json.loads((newest / "state.json").read_text())
    }


def assert_same_run(one, other):
    """Exactly equal, to the last bit: weights, moving statistics, averages, optimizer slots, history, best value."""
    for part in ("model", "training"):
        assert one[part].keys() == other[part].keys()
        for name, tensor in one[part].items():
            if not name.startswith("metric/"):
                assert np.array_equal(tensor, other[part][name]), name
    for part in ("epoch", "step", "best", "monitor", "flow"):
        assert one["state"].get(part) == other["state"].get(part)


def start(folder, image_folder, *flags):
    return start_python(ROOT / "train.py", "--dataset", f"folder:{image_folder}", *SETTINGS, *flags, cwd=folder)


def checkpoints(folder):
    weights = Path(folder) / "weights/r"
    return sorted(path.name for path in weights.iterdir() if path.name.startswith("epoch-")) if weights.is_dir() else []
