"""The recipes of docs/extending.md, applied to a copy of the sources: each adds what it says, in few places."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from scipy.io import savemat

ROOMS = ("foundation", "models", "datasets", "callbacks", "lab")
MOST_PLACES = {
    "A norm": 2,
    "A norm with its own activation": 4,
    "An option of architectures": 4,
    "An optimizer": 2,
    "A data set": 2,
    "A callback that survives a stop": 2,
    "A setting": 1,
    "A study": 1,
    "A study with a measured column": 2,
    "A figure": 2,
    "An export format": 2,
}
EDIT = re.compile(r"^`([\w/]+\.py)`[^\n]*:\n\n```(python|diff)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def recipes():
    """{heading: [(file, "python" or "diff", block), ...]} of the page's sections that edit files."""
    text = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    sections = [section.partition("\n") for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]]
    return {heading: found for heading, _, body in sections if (found := EDIT.findall(body))}


RECIPES = recipes()


def changed(text, diff):
    """The text with each part of a diff, which @@ divides, in its place: lines that are there once, next to one another."""
    for part in re.split(r"^@@\n", diff, flags=re.MULTILINE):
        lines = part.splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
        is_begun = old.endswith("(\n") and text.count(old) == 0  # the last line may be the begin of one
        old, new = (old[:-1], new[:-1]) if is_begun else (old, new)
        assert text.count(old) == 1, f"{text.count(old)} places for:\n{old}"
        text = text.replace(old, new)
    return text


def apply(edits, folder):
    for file, language, block in edits:
        path = folder / file
        assert path.exists() == (language == "diff"), file
        path.write_text(changed(path.read_text(encoding="utf-8"), block) if language == "diff" else block, encoding="utf-8")


def write_numbers(folder):
    """Noise of ten brightnesses, as SVHN's files hold house numbers: `X` (H, W, C, N), `y` (N, 1) from 1 to 10."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for name, count in (("train", 120), ("test", 20)):
        labels = np.arange(count) % 10 + 1
        pixels = random.integers(0, 60, (32, 32, 3, count)) + 18 * labels
        savemat(folder / f"{name}_32x32.mat", {"X": pixels.astype("uint8"), "y": labels[:, None]})


# Everything that the recipes add, used in one process. What it found is printed as JSON in the last line.
USE = """
import json, sys
from dataclasses import replace
from foundation.backend import select_backend
select_backend()
import keras, numpy as np, torch
import dispatcher
import foundation.style
from foundation import config_file
from foundation.flags import read_config
from lab import studies
from lab.exporting.export import export
from lab.reports.finished import Finished
from lab.reports.measures import MEASURES
from lab.reports.pictures import Options, write_pictures
from lab.runs.run import Run
from lab.training import experiment
from models.costs import costs_of
from models.norms import NORMS

config_file.main()
found = {"studies": studies.names()}
random = np.random.default_rng(0)
x = torch.from_numpy(random.standard_normal((2, 3, 4, 8)).astype("float32") + 1)
for name in ("rms", "frn"):
    norm = NORMS[name]()
    norm.build(x.shape)
    found[name] = norm(x, training=True).detach().numpy().tolist()
found["x"] = x.numpy().tolist()

network = dispatcher.build_model("preresnet20", (16, 16, 3), 4, blocks=2, dilation=2, norm="frn")
found["layers"] = [layer.name for layer in network.layers]
found["counted"] = [sum(cost.parameters for cost in costs_of(network).values()), network.count_params(),
                    dispatcher.measure_model("preresnet20", 16, 4, blocks=2, dilation=2, norm="frn")[2]]
twin = keras.Model.from_config(network.get_config())
images = random.standard_normal((2, 16, 16, 3)).astype("float32")
twin.set_weights(network.get_weights())
found["twins differ by"] = float(np.abs(twin.predict_on_batch(images) - network.predict_on_batch(images)).max())
block = network.get_layer("stage3_block2")
conv, y = block.parts["conv1"], torch.from_numpy(random.standard_normal((1, 6, 7, 64)).astype("float32"))
wanted = torch.nn.functional.conv2d(y.permute(0, 3, 1, 2), conv.kernel.value.permute(3, 2, 0, 1), padding=2, dilation=2)
found["dilated by"] = [network.get_layer(name).parts["conv1"].dilation for name in ("stage2_block2", "stage3_block2")]
found["convolutions differ by"] = float((conv(y) - wanted.permute(0, 2, 3, 1)).abs().max().detach())

flags = ["--dataset", "svhn", "--data-dir", ".", "--image-size", "8", "--model", "resnet6n2", "--n", "1", "--norm", "frn"]
flags += ["--optimizer", "adagrad", "--batch-size", "16", "--epochs", "2", "--run", "r", "--remark", "a toy"]
config = read_config(flags)
image_of, foundation.style.image_of = foundation.style.image_of, lambda *_, **__: b""  # pictures of a run are not the question
experiment.train(config)
def state():
    return json.loads(open("weights/r/epoch-00002/state.json").read())["overfitting"]
found["state"] = [state()]
experiment.train(replace(config, start_epoch=1))
found["state"].append(state())
foundation.style.image_of = image_of
run = Run.find("r", "output")
found["config"] = run.read_json("config.json")
found["weights of the rule"] = [v.name for v in experiment.load_trained(run)[1].variables][:1]
pictures = write_pictures("loss_gap", [Finished(run, "r")], Options(), lambda runs: run.folder("figures"))
found["pictures"] = [str(path) for path in pictures]
found["export"] = export(run, ["npz"])
found["measure"] = MEASURES["weights_mib"].values_of([config])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Findings of a process in a copy of the sources with every recipe applied."""
    folder = tmp_path_factory.mktemp("recipes")
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("*.py"):
        shutil.copy(path, folder)
    for edits in RECIPES.values():
        apply(edits, folder)
    write_numbers(folder / "svhn")
    environment = os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": str(folder)}
    del environment["RESLAB_CONFIG"]  # the copy has a config.py of its own
    process = subprocess.run([sys.executable, "-c", USE], cwd=folder, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    facts = json.loads(process.stdout.splitlines()[-1])
    return facts | {"folder": folder, "printed": process.stdout}


def test_every_recipe_is_there_and_touches_no_more_places_than_it_may():
    assert RECIPES.keys() == MOST_PLACES.keys()
    for heading, edits in RECIPES.items():
        assert len({file for file, _, _ in edits}) <= MOST_PLACES[heading], heading


def test_a_recipe_whose_lines_are_gone_is_found():
    with pytest.raises(AssertionError, match="0 places"):
        changed("one\n", " two\n+three\n")
    assert changed("one\ntwo\n", " one\n+and\n") == "one\nand\ntwo\n"


def test_the_norms_follow_their_equations(found):
    x = np.array(found["x"])
    np.testing.assert_allclose(found["rms"], x / np.sqrt((x**2).mean((1, 2, 3), keepdims=True) + 1e-5), rtol=1e-4, atol=1e-5)
    by_channel = x / np.sqrt((x**2).mean((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(found["frn"], np.maximum(by_channel, 0), rtol=1e-4, atol=1e-5)


def test_a_norm_with_an_activation_takes_the_place_of_both(found):
    assert "final_norm" in found["layers"] and "final_activation" not in found["layers"]
    assert len(set(found["counted"])) == 1


def test_the_option_reaches_the_layer_of_the_last_stage_alone(found):
    assert found["dilated by"] == [1, 2]
    assert found["convolutions differ by"] < 1e-4 and found["twins differ by"] < 1e-5


def test_the_settings_and_the_data_set_train_a_run(found):
    assert (found["config"]["optimizer"], found["config"]["norm"], found["config"]["remark"]) == ("adagrad", "frn", "a toy")
    assert 'remark = ""' in (found["folder"] / "config.py").read_text()
    classes = json.loads((found["folder"] / "output/r/classes.json").read_text())
    assert [entry["name"] for entry in classes] == list("0123456789")


def test_the_callbacks_state_survives_a_stop(found):
    """The second epoch, trained again from the checkpoint of the first, ends with the same state."""
    before, after = found["state"]
    assert before == after and before["lowest"] is not None
    assert "resuming run 'r' from epoch-00001" in found["printed"]


def test_the_study_is_listed_and_its_column_measured(found):
    assert "mish" in found["studies"]
    (value,) = found["measure"]
    assert 0.1 < value < 1


def test_the_figure_is_drawn_and_the_export_is_the_network(found):
    assert (found["folder"] / found["pictures"][0]).stat().st_size > 10_000
    assert found["export"]["npz"] < 1e-3
    assert (found["folder"] / "output/r/export/weights.npz").exists()
