"""A finished run is asked what its answers are worth, and refuses pictures by that."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, run_python, write_images
from PIL import Image

import evaluate
import predict
from datasets.batches import Batches
from datasets.samples import FULL_RANGES
from foundation.errors import UserError
from lab.exporting.predict import classify, find_images
from lab.reports.finished import Finished
from lab.runs.predictions import predictions_of
from lab.runs.reliance import temperature_of
from lab.runs.run import Run
from lab.training.evaluation import predict as predict_logits
from lab.trust import unlike
from lab.trust.corruptions import STRENGTHS, corrupt
from lab.trust.sorting import SortedFolder, folder_name, read_threshold


@pytest.fixture(scope="module")
def trusted(finished_run, tmp_path_factory):
    """A copy of the run, its record and its page; the run itself stays without, as other tests expect it."""
    folder = shutil.copytree(finished_run, tmp_path_factory.mktemp("trusted") / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(unlike, "IMAGES", 40)
        patch.setattr("sys.argv", ["evaluate.py", "r", "--trust", "--unlike", "digits"])
        evaluate.main()
    run = Run.find("r", folder / "output", folder / "weights")
    return run, run.read_json("trust.json"), (run.output / "trust.html").read_text()


def test_every_figure_says_its_split_and_equals_the_runs_predictions(trusted):
    run, record, _ = trusted
    temperature = record["temperature"]["value"]
    assert (record["temperature"]["fitted_on"], record["selective"]["threshold"]["chosen_on"]) == ("val", "val")
    assert temperature_of(run) == temperature and record["id"] == run.id
    parts = [record["classes"], record["corruptions"], *record["unlike"]]
    assert {part["split"] for part in parts} == {"test"} and list(record["calibration"]) == ["val", "test"]
    found = predictions_of(run, "test")
    metrics = run.read_json("metrics.json")["test"]
    assert record["calibration"]["test"]["before"]["loss"] == pytest.approx(metrics["loss"], rel=1e-5)
    assert record["selective"]["test"]["accuracy_at"]["1"] == pytest.approx(metrics["accuracy"])
    recalls = [np.mean(found.answers[found.labels == label] == label) for label in range(3)]
    assert [row["recall"] for row in record["classes"]["rows"]] == pytest.approx(recalls)
    worst = record["classes"]["worst"]
    assert worst["recall"] == pytest.approx(min(recalls))
    low, high = worst["recall_interval_of_all"]
    own = next(row["recall_interval"] for row in record["classes"]["rows"] if row["name"] == worst["name"])
    assert low <= own[0] and own[1] <= high


def test_twelve_corruptions_at_three_strengths_are_measured(trusted):
    run, record, _ = trusted
    found = record["corruptions"]
    accuracies = [accuracy for row in found["kinds"].values() for accuracy in row]
    assert len(accuracies) == 36 and found["images"] == 24
    assert found["mean"] == pytest.approx(np.mean(accuracies)) and found["worst"]["accuracy"] == min(accuracies)
    place = found["strengths"].index(found["worst"]["strength"])
    assert found["kinds"][found["worst"]["kind"]][place] == min(accuracies)
    assert found["clean"] == record["selective"]["test"]["accuracy_at"]["1"]
    finished = Finished(run, "r")
    test = finished.dataset.test
    for kind, place in (("gaussian noise", 0), ("contrast", 2), ("jpeg", 1)):
        changed = unlike.as_split(corrupt(test.read(), kind, STRENGTHS[place]))
        answers = predict_logits(finished.model, Batches(finished.dataset, changed)).argmax(1)
        assert found["kinds"][kind][place] == (answers == test.labels).mean()


def test_the_page_stands_alone_and_shows_what_the_record_holds(trusted):
    _, record, page = trusted
    assert not re.search(r'(?:src|href)="(?!data:)', page) and page.count("<img") == 3
    for kind in record["corruptions"]["kinds"]:
        assert f"<td>{kind}</td>" in page
    for name in ("dark", "grey", "light", "digits"):
        assert f"<td>{name}</td>" in page
    assert f"{record['unlike'][0]['auroc']['value']:.3f}" in page and "fitted on it" in page


def test_a_foreign_set_without_trust_is_one_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["evaluate.py", "r", "--unlike", "digits"])
    with pytest.raises(UserError, match="--unlike goes with --trust"):
        evaluate.main()
    monkeypatch.setattr("sys.argv", ["evaluate.py", "r", "--trust", "--unlike", "folder:nowhere"])
    with pytest.raises(UserError, match="no folder nowhere"):
        evaluate.main()
    monkeypatch.setattr("sys.argv", ["evaluate.py", "r", "--trust", "--unlike", "digit"])
    with pytest.raises(UserError, match="did you mean 'digits'"):
        evaluate.main()


@pytest.fixture
def asked(finished_run, monkeypatch, tmp_path, capsys):
    """Returns a function that runs predict.py on a run and a folder, and returns its exit code and what it prints."""
    write_images(tmp_path / "new", ("dark", "light"), 2, seed=5)
    (tmp_path / "new" / "broken.png").write_bytes(b"no image")
    monkeypatch.chdir(finished_run)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["predict.py", "r", str(tmp_path / "new"), *map(str, arguments)])
        return predict.main(), capsys.readouterr()

    return run


def test_pictures_are_sorted_refused_and_explained(asked, tmp_path):
    """Those of which the network is less sure than of the median picture are refused."""
    code, said = asked("--csv", tmp_path / "all.csv")
    with open(tmp_path / "all.csv") as file:
        rows = list(csv.DictReader(file))
    assert code == 2 and "refused" not in rows[0]
    threshold = sorted(float(row["probability_1"]) for row in rows)[2] - 1e-6
    out = tmp_path / "sorted"
    code, said = asked("--threshold", threshold, "--sort-into", out, "--explain", "--csv", tmp_path / "some.csv")
    assert code == 2 and f"3 of 5 pictures refused: 2 below {threshold:g}, 1 unreadable" in said.out
    with open(tmp_path / "some.csv") as file:
        rows = {Path(row["file"]): row for row in csv.DictReader(file)}
    kinds = sorted(row["refused"].partition(" ")[0].rstrip(":") for row in rows.values())
    assert kinds == ["", "", "below", "below", "unreadable"]
    for file, row in rows.items():
        if row["class_1"]:
            folder = out / ("_refused" if row["refused"] else row["class_1"])
            copies = [path for path in folder.iterdir() if path.read_bytes() == file.read_bytes()]
            assert len(copies) == 1 and Image.open(f"{copies[0]}.map.png").size[0] >= 224
    copied = sorted(out.rglob("*"))
    assert len([path for path in copied if path.is_file()]) == 8
    assert len(find_images([out])[0]) == 4  # the copies alone are pictures where the folder is read again
    asked("--threshold", threshold, "--sort-into", out)
    assert sorted(out.rglob("*")) == copied  # the same pictures again are there already


def test_maps_without_copies_are_a_page(asked, finished_run):
    _, said = asked("--explain", "--threshold", "1")
    page = finished_run / "output/r/explain/predicted.html"
    assert "predicted.html" in said.out and page.read_text().count("<img") == 8 and "refused: below 1" in page.read_text()
    assert said.out.count("refused: below 1") == 4


def test_another_picture_of_the_same_name_is_kept_too(tmp_path):
    for name, data in (("a/x.png", b"one"), ("b/x.png", b"two"), ("c/x.png", b"one")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(data)
    copies = SortedFolder(tmp_path / "out", [tmp_path / "a"])
    found = [copies.put(tmp_path / name / "x.png", "../up") for name in "abc"]
    assert [path.name for path in found] == ["x.png", "x-2.png", "x.png"]
    assert {path.parent for path in found} == {tmp_path / "out" / folder_name("../up")}
    assert folder_name("../up") == "__up" and folder_name("..") == "_" and folder_name("a/b") == "a_b"
    with pytest.raises(UserError, match="which is read"):
        SortedFolder(tmp_path / "a" / "out", [tmp_path / "a"])


@pytest.mark.parametrize("text", ["1.5", "-0.1", "much", "nan"])
def test_a_threshold_that_is_none_is_one_line(text):
    with pytest.raises(UserError, match="allowed: a number from 0 to 1, or trust"):
        read_threshold(text, None)


def test_the_runs_own_threshold_needs_a_run(trusted):
    run, record, _ = trusted
    with pytest.raises(UserError, match="give a number for an ONNX file"):
        read_threshold("trust", None)
    value = record["selective"]["threshold"]["value"]
    if value is None:
        with pytest.raises(UserError, match="has no threshold"):
            read_threshold("trust", run)
    else:
        assert read_threshold("trust", run) == value


class Constant:
    """A network of two classes."""

    image_size, channels, class_names, ranges = 8, 3, ("a", "b"), FULL_RANGES

    def __init__(self, temperature):
        self.temperature = temperature

    def __call__(self, images):
        return np.tile(np.array([[2.0, 0.0]], "float32"), (len(images), 1))


def test_probabilities_are_those_of_scaled_logits(tmp_path):
    write_images(tmp_path, ("x",), 1)
    file = tmp_path / "x" / "000.png"
    for temperature in (1.0, 2.0, 0.5):
        ((_, classes, _),) = classify(Constant(temperature), [file], 2)
        assert classes[0][1] == pytest.approx(1 / (1 + np.exp(-2.0 / temperature)))


def test_a_record_is_plain_json(trusted):
    run, record, _ = trusted
    json.dumps(record, allow_nan=False)
    assert str(run.output) not in json.dumps({name: value for name, value in record.items() if name != "command"})


def test_training_on_discards_what_was_found_of_earlier_weights(image_folder, in_folder):
    settings = f"--run r --warmup-epochs 0 --model resnet6n2 --n 1 --schedule constant --dataset folder:{image_folder}".split()
    found = [in_folder / "output/r" / name for name in ("trust.json", "trust.html", "metrics-tta.json")]

    def train_to(epochs):
        assert run_python(ROOT / "train.py", *settings, "--epochs", str(epochs), cwd=in_folder).returncode == 0

    train_to(1)
    for path in found:
        path.write_text("{}")
    train_to(1)  # nothing is left to train
    assert all(path.exists() for path in found)
    train_to(2)
    assert not any(path.exists() for path in found)
