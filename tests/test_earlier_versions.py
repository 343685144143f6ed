"""A run of the first version, kept under tests/, can be read, measured, used and resumed by every later one.

It was trained on two kinds of stripes, 8x8 pixels, to the end of its third epoch (`expected.json` holds what its network says of
each image); kept are that checkpoint and one from within the third epoch.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dispatcher
from foundation.errors import UserError
from foundation.flags import read_config
from lab.exporting.predict import RunNetwork, classify
from lab.runs.run import Run
from lab.training import experiment
from models.architecture import resnet_cifar

KEPT = Path(__file__).parent / "run_of_0_1"
METRICS = json.loads((KEPT / "output/old/metrics.json").read_bytes())
FLAGS = """--model tiny --dataset folder:pictures --epochs 3 --batch-size 4 --val-fraction 0.2 --warmup-epochs 0.5 --run old
    --track-f1 --track-gradients --nesterov --max-shift 1 --keep-checkpoints 9 --early-stopping-patience 5 --mixup-alpha 0.2
    --init-lr 0.3 --ema-decay 0.9 --mirror alternating --augment none"""


def draw_pictures(root):
    y, x = np.mgrid[:8, :8]
    for name, line in (("falling", x - y), ("rising", x + y)):
        (root / "train" / name).mkdir(parents=True)
        for i in range(10):
            pixels = np.stack([(line * (16 + i) + 40 * k + 11 * i) % 256 for k in range(3)], -1)
            Image.fromarray(pixels.astype("uint8")).save(root / "train" / name / f"{i}.png")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The folder in which the run was trained, or one to which that was moved; the reader stands elsewhere."""
    monkeypatch.setitem(dispatcher.MODELS, "tiny", resnet_cifar(1, filters=(8,), stem_filters=8))
    shutil.copytree(KEPT, tmp_path / "project")
    draw_pictures(tmp_path / "project/pictures")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "project"


def assert_as_measured(metrics):
    for split in ("train", "val", "test"):
        kept = {name: metrics[split][name] for name in METRICS[split]}  # later versions write more
        assert kept == pytest.approx(METRICS[split], rel=1e-3), split
    assert (metrics["epochs"], metrics["best_epoch"]) == (3, 3)


def test_it_is_evaluated(project):
    run = Run.find(project / "output/old", "output")
    assert run.weights == project / "weights/old" and run.id is None
    assert_as_measured(experiment.evaluate(run))


def test_it_names_images(project):
    expected = json.loads((KEPT / "expected.json").read_bytes())["probability_of_rising"]
    files = [project / "pictures/train" / name for name in expected]
    found = classify(RunNetwork(Run.find(project / "output/old", "output")), files, 2)
    assert [dict(classes)["rising"] for _, classes, _ in found] == pytest.approx(list(expected.values()), abs=1e-3)


def test_it_is_resumed_from_within_an_epoch_to_the_same_end(project, monkeypatch):
    shutil.rmtree(project / "weights/old/epoch-00003")
    (project / "output/old/metrics.json").unlink()
    monkeypatch.chdir(project)
    assert experiment.train(read_config(FLAGS.split())) == 0
    run = Run.find("old", "output")
    assert_as_measured(run.read_json("metrics.json"))
    before = json.loads((KEPT / "output/old/history.json").read_bytes())
    assert run.read_json("history.json").keys() == before.keys()
    for name, values in run.read_json("history.json").items():
        assert values == pytest.approx(before[name], rel=1e-3), name
    state = json.loads((project / "weights/old/epoch-00003/state.json").read_bytes())
    assert state["run"] == run.id and len(run.id) == 32  # from now on it has one
    assert Run.at("output/old").weights == project / "weights/old"


def without(project, part):
    """The project stopped within its third epoch, its checkpoint of a version that did not remember this part."""
    shutil.rmtree(project / "weights/old/epoch-00003")
    (project / "output/old/metrics.json").unlink()
    (checkpoint,) = (project / "weights/old").iterdir()
    state = json.loads((checkpoint / "state.json").read_bytes())
    del state[part]
    (checkpoint / "state.json").write_text(json.dumps(state))
    manifest = json.loads((checkpoint / "manifest.json").read_bytes())
    manifest["state.json"]["sha256"] = hashlib.sha256((checkpoint / "state.json").read_bytes()).hexdigest()
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


def test_a_part_that_an_earlier_version_did_not_remember_starts_fresh_where_that_changes_no_result(project, monkeypatch, capsys):
    without(project, "flow")
    monkeypatch.chdir(project)
    assert experiment.train(read_config(FLAGS.split())) == 0
    assert "has no record of 'flow', which changes no result: it starts fresh" in capsys.readouterr().out
    assert_as_measured(Run.find("old", "output").read_json("metrics.json"))
    assert json.loads((project / "output/old/flow.json").read_bytes())["epoch"] == [3]


def test_a_part_that_the_result_depends_on_is_one_line_that_says_so(project, monkeypatch):
    without(project, "best")
    monkeypatch.chdir(project)
    with pytest.raises(UserError, match="did not record 'best': which epoch was the best so far is not known"):
        experiment.train(read_config(FLAGS.split()))


def test_weights_of_another_run_are_not_taken_for_its_own(project):
    history = json.loads((project / "output/old/history.json").read_bytes())
    history["loss"][0] += 0.01
    (project / "output/old/history.json").write_text(json.dumps(history))
    with pytest.raises(UserError, match="holds weights of another run"):
        experiment.load_trained(Run.find(project / "output/old", "output"))
