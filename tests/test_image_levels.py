"""Samples of more than 8 bits: one scale for a set, recorded and used again."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from datasets.catalog import load
from datasets.images import read_image
from datasets.samples import FULL_RANGES, ranges_of
from foundation.errors import UserError


def ramp(low, high, kind):
    """A 16x16 image of samples evenly from `low` to `high`."""
    return Image.fromarray(np.linspace(low, high, 256).reshape(16, 16).astype(kind))


def set_of(root, images, ending):
    """A data set of two classes with these train images each, and what it is loaded as."""
    for name in ("a", "b"):
        (root / "train" / name).mkdir(parents=True)
        for i in range(10):
            images[i % len(images)].save(root / "train" / name / f"{i}.{ending}")
    return load(f"folder:{root}", root / "data")


def levels(dataset):
    return len(np.unique(np.concatenate([dataset.train.read(), dataset.val.read(), dataset.test.read()])))


@pytest.mark.parametrize(
    ("images", "ending", "found"),
    [
        ([ramp(0, 1, "float32")], "tif", 256),
        ([ramp(-2, 900, "float32")], "tif", 256),
        ([ramp(0, 255, "uint16")], "png", 256),
        ([ramp(0, 256, "uint16")], "png", 255),
        ([ramp(0, 4095, "uint16")], "png", 256),
        ([ramp(0, 5000, "uint16")], "tif", 256),
        ([ramp(30_000, 31_000, "uint16")], "png", 256),
        ([ramp(0, 65_535, "uint16")], "png", 256),
        ([ramp(-70_000, 70_000, "int32")], "tif", 256),
        ([ramp(0, 4095, "uint16")], "jp2", 256),
    ],
)
def test_samples_of_any_range_keep_their_levels(images, ending, found, tmp_path):
    dataset = set_of(tmp_path, images, ending)
    assert levels(dataset) == found and dataset.notes == ()


def test_one_scale_serves_all_files_of_a_set_and_later_ones(tmp_path):
    low, high = np.full((16, 16), 200, "uint16"), np.full((16, 16), 4000, "uint16")
    dataset = set_of(tmp_path, [Image.fromarray(low), Image.fromarray(high)], "png")
    assert set(np.unique(dataset.train.read())) == {0, 255}
    assert dataset.ranges == {"integer": (200, 4000), "float": (0.0, 1.0)}
    assert load(f"folder:{tmp_path}", tmp_path / "data").ranges == dataset.ranges  # also of decoded images that were kept
    Image.fromarray(np.full((16, 16), 2100, "uint16")).save(tmp_path / "new.png")
    recorded = ranges_of(json.loads(json.dumps(dataset.ranges)))
    assert read_image(tmp_path / "new.png", 8, 1, recorded)[0, 0, 0] == 128  # (2100 - 200) / 3800 of 255
    assert read_image(tmp_path / "new.png", 8, 1)[0, 0, 0] == 8  # by the full range of 16 bits


def test_test_is_scaled_as_train_is_and_decoded_anew_when_that_changes(tmp_path):
    (tmp_path / "test/a").mkdir(parents=True)
    (tmp_path / "test/b").mkdir(parents=True)
    for name in ("a", "b"):
        Image.fromarray(np.full((16, 16), 9000, "uint16")).save(tmp_path / f"test/{name}/0.png")
    assert set_of(tmp_path, [ramp(0, 18_000, "uint16")], "png").test.read()[0, 0, 0, 0] == 128
    ramp(0, 36_000, "uint16").save(tmp_path / "train/a/0.png")
    assert load(f"folder:{tmp_path}", tmp_path / "data").test.read()[0, 0, 0, 0] == 64


def test_floats_between_0_and_1_are_not_stretched(tmp_path):
    dataset = set_of(tmp_path, [Image.fromarray(np.full((16, 16), level, "float32")) for level in (0.25, 0.75)], "tif")
    assert set(np.unique(dataset.train.read())) == {64, 191} and dataset.ranges == FULL_RANGES


def test_a_file_with_samples_that_are_no_numbers_is_not_read_and_does_not_set_the_scale(tmp_path):
    for i, spoiled in enumerate((np.nan, np.inf)):
        samples = np.full((16, 16), 3, "float32")
        samples[4, 4] = spoiled
        (tmp_path / "train/a").mkdir(parents=True, exist_ok=True)
        Image.fromarray(samples).save(tmp_path / f"train/a/spoiled{i}.tif")
    dataset = set_of_more(tmp_path, ramp(0, 2, "float32"))
    assert len(dataset.notes) == 1 and dataset.notes[0].startswith("2 files of train") and "NaN or infinite" in dataset.notes[0]
    assert dataset.ranges["float"] == (0, 2)


def set_of_more(root, image):
    for name in ("a", "b"):
        (root / "train" / name).mkdir(parents=True, exist_ok=True)
        for i in range(10):
            image.save(root / "train" / name / f"{i}.tif")
    return load(f"folder:{root}", root / "data")


NO_RANGES = (
    [],
    "x",
    1,
    {"integer": [0, 1]},
    {"integer": [1, 0], "float": [0, 1]},
    {"integer": [0, 1], "float": [0, float("nan")]},
    {"integer": ["a", "b"], "float": [0, 1]},
    {"integer": [0, 10**400], "float": [0, 1]},
    {"integer": 3, "float": [0, 1]},
)


@pytest.mark.parametrize("record", NO_RANGES)
def test_a_record_of_other_ranges_is_one_line(record):
    with pytest.raises(UserError, match="sample_ranges are"):
        ranges_of(record)
    assert ranges_of(None) == FULL_RANGES


def test_splits_without_variation_or_with_few_levels_are_told_of(tmp_path):
    flat = set_of(tmp_path / "flat", [Image.new("RGB", (8, 8), (9, 9, 9))], "png")
    assert flat.notes[0] == "train, val and test have no variation: all pixels are equal"
    few = set_of(tmp_path / "few", [ramp(0, 15, "uint8")], "png")
    assert "train, val and test have only 16 of 256 levels" in few.notes[0]
    assert set_of(tmp_path / "many", [ramp(0, 255, "uint8")], "png").notes == ()


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()
