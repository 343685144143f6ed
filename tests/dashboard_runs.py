"""Runs in every state, for the tests of the dashboard."""

import io
import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from PIL import Image

from foundation.settings import Config
from lab.runs.run import Run
from lab.training.experiment import train

HISTORY = {"epoch": [1, 2], "loss": [2.0, 1.5], "accuracy": [0.2, 0.4], "val_loss": [2.1, 1.6], "val_accuracy": [0.25, 0.5]}
HISTORY |= {"learning_rate": [0.1, 0.05]}
SPEED = {"epoch": [1, 2], "images_per_second": [900.0, 1000.0], "seconds": [10.0, 10.0]}
CLASSES = [{"label": i, "name": str(i), "id": str(i)} for i in range(10)]
REPORT = "<!doctype html><title>depth</title><h1>Do more layers help?</h1>"


def write_run(folder, name, **files):
    (folder / name).mkdir(parents=True)
    for file, content in files.items():
        (folder / name / f"{file}.json").write_text(json.dumps(content))


def settings(folder, **changes):
    return {**vars(Config()), "output_dir": str(folder / "output"), "weights_dir": str(folder / "weights")} | changes


@contextmanager
def runs_in_every_state(folder):
    """Fill a folder with runs: finished (trained), live (held within the block), stopped, broken; and a study with a report."""
    given = {"image_size": 8, "n": 1, "epochs": 2, "batch_size": 128, "run": "finished", "track_gradients": True}
    config = Config(**settings(folder, **given))
    assert train(config) == 0
    output = folder / "output"
    write_run(output, "stopped", config=settings(folder, epochs=5), history=HISTORY, speed=SPEED, classes=CLASSES)
    write_run(output, "broken", config={"epochs": "![many](http://example.com/picture.png)"})
    write_run(output / "studies/depth/runs", "deep", config=settings(folder), history=HISTORY)
    (output / "studies/depth/report.html").write_text(REPORT)
    live = Run("live", output, folder / "weights")
    with live.writing(replace(config, run="live", epochs=4)):
        live.write_json("history.json", HISTORY)
        live.write_json("speed.json", SPEED)
        live.write_json("classes.json", CLASSES)
        yield folder


def a_picture(image=None):
    file = io.BytesIO()
    image = image or Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 20, 3), "uint8"))
    image.save(file, "png")
    return file.getvalue()
