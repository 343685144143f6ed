"""audit.py: repeated pictures, leaks, shortcuts and wrong labels that were planted are found, and little else is."""

import csv
import io
import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

import audit
from datasets.catalog import load
from foundation.errors import UserError
from foundation.settings import Config
from lab.auditing.label_errors import confident_joint, joint_distribution, probable_errors
from lab.auditing.near import SIDE, near_duplicates
from lab.auditing.shortcuts import find_shortcuts
from lab.runs.predictions import Predictions, write_predictions
from lab.runs.run import Run


def scene(seed, size=96):
    """A picture of soft spots of all sizes and colours on a soft ground."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((size, size, 3))
    for cells in (3, 6, 12, 24):
        noise = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype="uint8"))
        pixels += np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC), "float64") / cells
    pixels -= pixels.min()
    return Image.fromarray((pixels * 200 / pixels.max()).astype("uint8"))


def compressed(image):
    data = io.BytesIO()
    image.save(data, "JPEG", quality=40)
    return Image.open(data)


CHANGES = {
    "resized": lambda image: image.resize((50, 41), Image.Resampling.BICUBIC),
    "compressed": compressed,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "mirrored": ImageOps.mirror,
    "cropped": lambda image: image.crop((5, 5, 91, 91)),
    "cropped on two sides": lambda image: image.crop((5, 0, 96, 92)),
    "all together": lambda image: compressed(ImageOps.mirror(image.crop((2, 4, 92, 95))).resize((60, 60))),
}


def small(images):
    grey = [np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for image in images]
    return np.stack(grey)


def test_changed_copies_are_found_and_no_two_different_pictures():
    originals = [scene(seed) for seed in range(60)]
    copies = [change(originals[i]) for i, change in enumerate(CHANGES.values())]
    flat = Image.new("RGB", (96, 96), "white")
    found = near_duplicates(small([*originals, *copies, flat, flat]))
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(i, 60 + i) for i in range(len(copies))]
    assert found.is_mirrored.tolist() == ["mirrored" in name or "all" in name for name in CHANGES]
    assert (found.likeness > 0.85).all()


def test_each_pair_of_many_copies_comes_once():
    copies = near_duplicates(small([scene(1)] * 5 + [scene(seed) for seed in range(2, 30)]))
    assert sorted(zip(copies.first.tolist(), copies.second.tolist(), strict=True)) == [
        (i, j) for i in range(5) for j in range(i + 1, 5)
    ]


@pytest.fixture
def photos(in_folder):
    """Two classes of 30 pictures: one picture twice in train, one of train mirrored in test, one burst in train and test."""
    for c, name in enumerate(("robin", "wren")):
        for split, first, last in (("train", 0, 20), ("val", 20, 25), ("test", 25, 30)):
            folder = in_folder / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(first, last):
                scene(100 * c + i, 64).save(folder / f"bird{i}_0.png")
    root = in_folder / "photos"
    scene(3, 64).save(root / "train/robin/bird90_0.png")
    ImageOps.mirror(scene(104, 64)).save(root / "test/robin/bird91_0.png")
    scene(900, 64).save(root / "test/wren/bird7_1.png")
    return root


def run_audit(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["audit.py", *arguments])
    audit.main()


def read(in_folder, name="photos"):
    folder = in_folder / "output" / "audit" / name
    rows = list(csv.DictReader((folder / "look-at.csv").read_text().splitlines()))
    return json.loads((folder / "audit.json").read_text()), rows, (folder / "audit.html").read_text()


def test_an_audit_names_what_was_planted_and_nothing_else(photos, in_folder, monkeypatch, capsys):
    run_audit(monkeypatch, "folder:photos", "--group-by", r"\w+/\w+/(bird[0-9]+)_", "--set", "image_size=48")
    record, rows, page = read(in_folder)
    assert record["pictures"] == {"train": 41, "val": 10, "test": 12} and record["classes"]["wren"]["test"] == 6
    assert record["equal_pairs"]["train"] == 1 and sum(record["equal_pairs"].values()) == 1
    assert record["near_pairs"]["train and test"] == 1 and sum(record["near_pairs"].values()) == 1
    assert record["pairs_of_two_classes"] == {"equal": 0, "near": 1}
    assert record["known_from_an_earlier_split"] == {"train": 0, "val": 0, "test": 2}
    assert record["groups_in_two_splits"] == {"train and val": 0, "train and test": 1, "val and test": 0}
    assert record["sizes"]["width"]["median"] == 64 and record["file_types"] == {"PNG": 63}
    assert [row["why"] for row in rows] == ["equal pixels", "near duplicate", "its group is in an earlier split"]
    assert rows[1]["picture"] == "test/robin/bird91_0.png" and "train/wren/bird4_0.png (train, wren)" in rows[1]["other"]
    assert rows[2]["picture"] == "test/wren/bird7_1.png"
    told = capsys.readouterr().out
    assert "2 of 12 pictures of test are known from an earlier split" in told and told.endswith("audit.html\n")
    assert "Near duplicates" in page and "likeness" in page and page.count("<img") > 12 and '"http' not in page


def test_accuracy_without_known_pictures_is_that_of_the_others(photos, in_folder, monkeypatch, capsys):
    config = Config(dataset="folder:photos", image_size=48, run="r", epochs=1)
    run, dataset = Run("r", "output", "weights"), load("folder:photos", image_size=48)
    run.output.mkdir(parents=True)
    run.write_json("config.json", asdict(config))
    known = [name in ("test/robin/bird91_0.png",) for name in dataset.test.names("test")]
    answers = {"val": dataset.val.labels, "test": np.where(known, dataset.test.labels, 0)}  # robin's; all that it knew are right
    found = {name: Predictions.of(np.eye(2)[answers[name]], dataset.splits[name]) for name in answers}
    split = {"loss": 1.0, "f1_micro": 0.5, "f1_macro": 0.5}
    measured = {
        name: split | {"accuracy": float(found[name].is_right.mean()), "images": len(found[name].labels)} for name in found
    }
    rest = {"epochs": 1, "best_epoch": 1, "seconds": 1.0, "images_per_second": 9.0, "params": 1, "macs": 1}
    run.write_json("metrics.json", rest | measured | {"train": measured["test"]})
    write_predictions(run, found)
    run_audit(monkeypatch, "--without-leaks", "r")
    accuracy = read(in_folder)[0]["accuracy_without_leaks"]
    assert (accuracy["test"]["with"]["accuracy"], accuracy["test"]["with"]["images"]) == (6 / 12, 12)
    assert (accuracy["test"]["without"]["accuracy"], accuracy["test"]["without"]["images"]) == (5 / 11, 11)
    assert "r on test: 50.00 % of 12 pictures, 45.45 % (" in capsys.readouterr().out
    Image.new("RGB", (9, 9)).save(photos / "test/wren/new.png")
    with pytest.raises(UserError, match="the pictures of test are others"):
        run_audit(monkeypatch, "folder:photos", "--without-leaks", "r")
    with pytest.raises(UserError, match=r"run 'r' was trained on folder:.*photos, not on digits"):
        run_audit(monkeypatch, "digits", "--without-leaks", "r")
    with pytest.raises(UserError, match="seed can't be set beside a run"):
        run_audit(monkeypatch, "--without-leaks", "r", "--set", "seed=1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which pictures"),
        (("photos",), "unknown data set .photos."),
        (("folder:none",), "no folder none"),
        (("digits", "--set", "sede=1"), "did you mean 'seed'"),
        (("digits", "--group-by", "(a)"), "group_by finds groups in paths of files"),
        (("digits", "--labels", "nobody"), "unknown run 'nobody'"),
        (("digits", "--without-leaks", "nobody"), "unknown run 'nobody'"),
    ],
)
def test_a_mistake_is_one_line(in_folder, monkeypatch, arguments, message):
    with pytest.raises(UserError, match=message) as error:
        run_audit(monkeypatch, *arguments)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)


def pictures_with(border=None, sizes=None, kinds=None, count=120, classes=3, seed=0):
    """Facts in which shortcuts are sought, of pictures of three classes, drawn whatever the class where none is given."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    border = random.normal(120, 20, (count, 6)) if border is None else border(labels, random)
    sizes = random.integers(60, 90, (count, 2)) if sizes is None else sizes(labels, random)
    kinds = random.choice(["JPEG", "PNG"], count) if kinds is None else kinds(labels)
    files = [SimpleNamespace(width=w, height=h, kind=k) for (w, h), k in zip(sizes, kinds, strict=True)]
    names = [f"{i}.{kind.lower()}" for i, kind in enumerate(kinds)]
    return SimpleNamespace(border=border, files=files, names=names, labels=labels)


PLANTED = {
    "colour of the border": {
        "border": lambda labels, random: random.normal(120, 20, (len(labels), 6)) + 60 * (labels == 1)[:, None]
    },
    "aspect": {
        "sizes": lambda labels, random: random.integers(60, 90, (len(labels), 1)) * np.stack([1 + labels, 0 * labels + 2], 1)
    },
    "file type": {"kinds": lambda labels: np.where(labels == 2, "PNG", "JPEG")},
}


@pytest.fixture
def few_trees(monkeypatch):
    monkeypatch.setattr("lab.auditing.shortcuts.TREES", 8)


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_shortcut_is_found(kind, few_trees):
    found = {each.kind: each for each in find_shortcuts(pictures_with(**PLANTED[kind]), np.arange(120))}
    assert found[kind].is_found and found[kind].accuracy > 0.6 and found[kind].chance == pytest.approx(1 / 3)
    assert all(each.low <= each.accuracy <= each.high for each in found.values())


def test_facts_without_regard_to_the_class_are_no_shortcut_and_equal_ones_are_not_asked(few_trees):
    alarms = [
        each.kind for seed in range(4) for each in find_shortcuts(pictures_with(seed=seed), np.arange(120)) if each.is_found
    ]
    assert len(alarms) <= 1  # each of the 4 audits has a false alarm with a probability of 5 %
    equal = find_shortcuts(pictures_with(kinds=lambda labels: ["PNG"] * len(labels)), np.arange(120))
    assert [each.why_not for each in equal if each.kind == "file type"] == ["equal in all pictures"]


def test_pictures_that_belong_together_tell_nothing_about_each_other(few_trees):
    """Each of six bursts has its own colour; what one burst teaches says nothing about the others."""
    families = np.arange(120) // 3 % 2 * 3 + np.arange(120) % 3
    colours = np.random.default_rng(0).normal(120, 50, (6, 6))
    found = find_shortcuts(
        pictures_with(border=lambda labels, random: colours[families] + random.normal(0, 1, (120, 6))), families
    )
    assert not found[0].is_found


def answers_of(labels, classes, random, sure=4.0):
    """Probabilities of a network that is right about the true labels, more or less surely."""
    logits = random.standard_normal((len(labels), classes)) + sure * np.eye(classes)[labels]
    shares = np.exp(logits)
    return shares / shares.sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 4, 10])
def test_planted_label_errors_are_named(classes):
    recall, precision = [], []
    for seed in range(10):
        random = np.random.default_rng(seed)
        true = random.integers(0, classes, 600)
        is_flipped = np.arange(600) < 30
        labels = np.where(is_flipped, (true + random.integers(1, classes, 600)) % classes, true)
        rows, suggested = probable_errors(answers_of(true, classes, random), labels)
        assert len(set(rows)) == len(rows) and (suggested != labels[rows]).all()
        recall.append(is_flipped[rows].sum() / 30)
        precision.append(is_flipped[rows].mean())
    assert np.mean(recall) > 0.85 and np.mean(precision) > 0.85


def test_a_picture_of_a_class_that_networks_rule_out_comes_before_one_that_they_only_doubt():
    """Networks that can't tell a class from a similar one are sure of the wrong one of the two, but rule out neither."""
    probabilities = np.array([[0.9, 0.1, 0.0], [0.25, 0.05, 0.7], *(0.5 * np.eye(3) + 0.5 / 3)[[0, 1, 2] * 4]])
    labels = np.array([1, 1, *[0, 1, 2] * 4])
    places, suggested = probable_errors(probabilities, labels)
    assert (places.tolist(), suggested.tolist()) == ([1, 0], [2, 0])


def test_the_joint_of_labels_and_classes_is_that_of_the_equations():
    """By hand, as in section 3.1: the thresholds are 0.5875, the mean of the first four, and 0.8, that of the last two."""
    own = np.array([0.9, 0.7, 0.65, 0.1, 0.3, 0.1])
    probabilities, labels = np.stack([own, 1 - own], 1), np.array([0, 0, 0, 0, 1, 1])
    joint = confident_joint(probabilities, labels)
    assert joint.tolist() == [[3, 1], [0, 1]]
    shares = joint_distribution(joint, labels)
    assert shares == pytest.approx(np.array([[3 / 4 * 4, 1 / 4 * 4], [0, 2]]) / 6)
    rows, suggested = probable_errors(probabilities, labels)
    assert (rows.tolist(), suggested.tolist()) == ([3], [1])


def test_label_errors_are_named_and_networks_that_cannot_tell_them_say_so(photos, in_folder, monkeypatch, capsys):
    """Networks that are sure of the other class of three pictures; then, of every third picture."""

    def answering(is_other):
        def answers(dataset, *_):
            labels = np.concatenate([split.labels for split in dataset.splits.values()])
            return np.eye(2)[np.where(is_other(np.arange(len(labels))), 1 - labels, labels)] * 0.8 + 0.1

        return answers

    monkeypatch.setattr("lab.auditing.folds.out_of_fold", answering(lambda rows: rows < 3))
    run_audit(monkeypatch, "folder:photos", "--labels", "--set", "image_size=48")
    record, rows, page = read(in_folder)
    assert record["label_errors"]["count"] == 3 and record["label_errors"]["agreement"] == pytest.approx(60 / 63)
    named = [row["picture"] for row in rows if row["why"] == "probably another class"]
    assert named == list(load("folder:photos").train.names("train"))[:3] and all(f"{name} (train)" in page for name in named)
    assert "3 labels are probably wrong (networks that had not seen the pictures agree with 95.2 % " in capsys.readouterr().out
    monkeypatch.setattr("lab.auditing.folds.out_of_fold", answering(lambda rows: rows % 3 == 0))
    run_audit(monkeypatch, "--set", "image_size=48", "--labels", "folder:photos")
    said = capsys.readouterr().out
    assert "agree with only 66.7 % of all labels: they can't tell a wrong label" in said and "probably wrong" not in said
