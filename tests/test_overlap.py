"""Disjoint splits are checked by their images' content: what is shared is counted, told of and recorded."""

import hashlib
import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import write_images
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.catalog import load
from datasets.dataset import GreyImages, Split
from datasets.decoded import decoded
from datasets.overlap import find_overlap, signature, signatures
from foundation.errors import UserError
from lab.reports.study_report import shared_images_note
from lab.runs.run import Run
from lab.training.evaluation import describe_overlap, measure, measure_without_shared

NAMES = ("train", "val", "test")


def split_of(kinds):
    """Images of a few pixels, equal where their kinds are; half of all kinds differ in one bit only."""
    images = np.zeros((len(kinds), 2, 2, 3), "uint8")
    for image, (kind, _) in zip(images, kinds, strict=True):
        image[0, 0, 0], image[1, 0, 1] = kind // 2, 128 * (kind % 2)
    return Split(images, np.array([label for _, label in kinds], "int64"))


images_of_a_split = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=1, max_size=12)


@settings(max_examples=50)
@given(st.tuples(*[images_of_a_split] * 3))
def test_what_is_counted_is_what_counting_one_by_one_finds(kinds):
    splits = dict(zip(NAMES, map(split_of, kinds), strict=True))
    found = find_overlap(splits)
    pixels = {name: [kind for kind, _ in own] for name, own in zip(NAMES, kinds, strict=True)}
    assert found.repeated == {name: sum(count - 1 for count in Counter(own).values()) for name, own in pixels.items()}
    for pair, count in found.shared.items():
        split, other = pair.split(" in ")
        assert count == sum(kind in pixels[other] for kind in pixels[split])
    assert found.is_shared.tolist() == [kind in pixels["train"] + pixels["val"] for kind in pixels["test"]]
    first = {}
    everything = [pair for own in kinds for pair in own]
    assert found.relabelled == sum(first.setdefault(kind, label) != label for kind, label in everything)


def test_images_whose_signatures_meet_are_compared_by_their_pixels(monkeypatch):
    monkeypatch.setattr("datasets.dataset.signatures", lambda images: np.zeros(len(images), "uint64"))
    found = find_overlap({name: split_of([(kind, 0), (7, 0)]) for kind, name in enumerate(NAMES)})
    assert found.shared == {"val in train": 1, "test in train": 1, "test in val": 1}
    assert found.is_shared.tolist() == [False, True] and set(found.repeated.values()) == {0}


@pytest.mark.parametrize("shape", [(2, 2, 3), (9, 9, 3), (1, 1, 1), (512, 512, 3)])
def test_a_change_of_any_one_byte_changes_the_signature(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    flat, before = image.reshape(-1), signature(image)
    for place in {0, len(flat) // 2, len(flat) - 1, *range(0, len(flat), max(len(flat) // 50, 1))}:
        flat[place] ^= 1
        assert signature(image) != before
        flat[place] ^= 1
    assert signature(image) == before == signatures(image[None])[0]


def test_signatures_are_kept_beside_decoded_images_and_measured_where_they_are_not(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), "uint8")
    images, labels, _ = decoded(tmp_path / "set", 20, lambda i: (pixels[i], 0), 4, "train")
    kept = Split(images, labels).signatures()
    (tmp_path / "set/signatures.bin").unlink()
    assert np.array_equal(kept, signatures(pixels)) and np.array_equal(images.signatures(), kept)
    chosen = Split(GreyImages(images), labels).select([3, 5])
    assert np.array_equal(chosen.signatures(), kept[[3, 5]])


@pytest.fixture
def copied(tmp_path):
    """A data set of which half the test images are train's, byte for byte."""
    for name, seed in (("train", 0), ("val", 1), ("test", 2)):
        write_images(tmp_path / name, ("a", "b"), 6, size=8, seed=seed)
    for i in range(3):
        for name in ("a", "b"):
            (tmp_path / f"test/{name}/00{i}.png").write_bytes((tmp_path / f"train/{name}/00{i}.png").read_bytes())
    return load(f"folder:{tmp_path}", tmp_path / "data")


def test_a_copied_test_folder_is_told_of_and_accuracy_is_measured_without_it(copied):
    assert copied.overlap.shared == {"val in train": 0, "test in train": 6, "test in val": 0}
    (note,) = copied.overlap.notes({name: len(split) for name, split in copied.splits.items()})
    assert note.startswith("6 of 12 images of test are in train too")
    remembered = copied.overlap.is_shared
    answers = np.where(remembered, copied.test.labels, 1 - copied.test.labels)  # right on nothing that is new
    logits = np.eye(2)[answers]
    record = copied.overlap.record() | {"test_without_shared": measure_without_shared(logits, copied)}
    assert record["test_without_shared"]["accuracy"] == 0 and record["test_without_shared"]["images"] == 6
    said = describe_overlap(json.loads(json.dumps(record)), {"test": measure(logits, copied.test.labels)})
    assert said == (
        "The splits share images: 6 images of test are in train. Test accuracy is 50.00 % with them, "
        "0.00 % on the 6 test images that no other split holds."
    )


def test_only_what_was_found_is_said():
    metrics = {"test": {"accuracy": 0.5}}
    assert "not recorded" in describe_overlap(None, metrics)
    clean = {"shared": {"val in train": 0, "test in train": 0, "test in val": 0}}
    assert describe_overlap(clean, metrics) == "No image of a split is in another, compared by decoded pixels."
    everything = {"shared": {"val in train": 0, "test in train": 9, "test in val": 0}, "test_without_shared": None}
    assert describe_overlap(everything, metrics).endswith("with them, and no image of test is in test alone.")
    of_val = {"shared": {"val in train": 2, "test in train": 0, "test in val": 0}, "test_without_shared": None}
    assert describe_overlap(of_val, metrics).endswith("2 images of val are in train. Test accuracy is 50.00 % with them.")
    for damaged in ([], {"shared": [1]}, {"shared": {"test in train": 3}, "test_without_shared": 3}, {"shared": {"a": "x"}}):
        with pytest.raises(UserError, match=r"overlap\.json is damaged"):
            describe_overlap(damaged, metrics)


def test_digits_share_no_image():
    overlap = load("digits").overlap
    assert not any(overlap.shared.values()) and not any(overlap.repeated.values())
    assert len({hashlib.sha256(image.tobytes()).digest() for image in load("digits").train.read()}) == 1437


def test_a_studys_report_says_once_what_the_splits_of_its_runs_share(tmp_path):
    runs = []
    for arm, seed, shared in (("a", 0, 3), ("b", 0, 3), ("a", 1, 0), ("b", 1, 0)):
        run = Run(f"{arm}{seed}", tmp_path, tmp_path)
        run.output.mkdir()
        rest = {"accuracy": 0.25, "images": 7} if shared else None
        record = {"shared": {"val in train": 0, "test in train": shared, "test in val": 0}, "test_without_shared": rest}
        run.write_json("overlap.json", record)
        run.write_json("metrics.json", {"test": {"accuracy": 0.5}})
        runs.append(SimpleNamespace(arm=arm, seed=seed, run=run, is_finished=lambda: True))
    first, second = shared_images_note(runs)
    assert first.startswith("a, seed 0: The splits share images: 3 images of test are in train. Test accuracy is 50.00 %")
    assert "25.00 % on the 7" in first and second == "No image of a split is in another, compared by decoded pixels."
    (tmp_path / "a0/overlap.json").unlink()
    assert shared_images_note(runs[:1]) == ["Whether the splits share images was not recorded; `python evaluate.py` finds out."]
