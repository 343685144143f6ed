"""Decoded images in a file: read as from memory, whole or made anew, never filling memory."""

import json
import shutil

import numpy as np
import pytest
from conftest import run_python
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.batches import ReadAhead
from datasets.dataset import Split
from datasets.decoded import ImageFile, decoded
from datasets.images import BrokenImage
from foundation.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), "uint8")


def read(i):
    if i == 7:
        raise BrokenImage("torn")
    return IMAGES[i], i % 3


@pytest.fixture(scope="module")
def image_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "images.bin"
    path.write_bytes(IMAGES.tobytes())
    return ImageFile(path, IMAGES.shape)


@settings(max_examples=50)
@given(rows=st.lists(st.integers(0, 19), max_size=30))
def test_rows_of_a_file_are_those_of_memory(image_file, rows):
    rows = np.asarray(rows, "int64")
    assert np.array_equal(image_file[rows], IMAGES[rows])
    assert np.array_equal(image_file[3:17], IMAGES[3:17])


def test_what_could_not_be_read_is_named_and_left_out(tmp_path):
    images, labels, broken = decoded(tmp_path / "set", 20, read, 4, "train")
    kept = [i for i in range(20) if i != 7]
    assert np.array_equal(images[:], IMAGES[kept])
    assert labels.tolist() == [i % 3 for i in kept]
    assert broken == [[7, "torn"]]


@pytest.mark.parametrize("name", ["images.bin", "contents.json"])
@pytest.mark.parametrize("damage", ["missing", "short", "empty"])
def test_what_is_not_whole_is_decoded_anew(name, damage, tmp_path):
    decoded(tmp_path / "set", 20, read, 4, "train")
    path = tmp_path / "set" / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage == "short" else b"")
    if damage == "missing":
        path.unlink()
    images, labels, _ = decoded(tmp_path / "set", 20, read, 4, "train")
    assert len(images) == len(labels) == 19 and images[:].nbytes == path.with_name("images.bin").stat().st_size


def test_a_second_process_may_have_been_faster(tmp_path):
    decoded(tmp_path / "first", 20, read, 4, "train")

    def read_slowly(i):
        if i == 0:
            shutil.copytree(tmp_path / "first", tmp_path / "second")
        return read(i)

    images, _, _ = decoded(tmp_path / "second", 20, read_slowly, 4, "train")
    assert len(images) == 19
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_a_file_cut_short_while_it_is_in_use_is_an_error_not_a_crash(tmp_path):
    images, _, _ = decoded(tmp_path / "set", 20, read, 4, "train")
    with open(tmp_path / "set" / "images.bin", "r+b") as file:
        file.truncate(100)
    with pytest.raises(OSError, match="ends too early"):
        images[:]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("a file where a folder is wanted")
    with pytest.raises(UserError, match="can't be kept"):
        decoded(tmp_path / "taken" / "set", 20, read, 4, "train")


def test_reading_ahead_gives_the_same_images(image_file):
    split = Split(image_file, np.zeros(20, "int64")).select(np.arange(0, 20, 2))
    reader = ReadAhead(split)
    batches = [np.array([0, 5, 9]), np.array([1, 1]), np.array([], "int64"), np.array([3])]
    for indices, following in zip(batches, [*batches[1:], batches[0]], strict=True):
        assert np.array_equal(reader.read(indices, following), IMAGES[::2][indices])
    assert np.array_equal(reader.read(np.array([4]), batches[0]), IMAGES[::2][[4]])  # not what was foreseen


LARGE = """
import json
import datasets
import numpy as np
from pathlib import Path
from datasets.decoded import decoded
from datasets.dataset import Split, Source
from datasets.splits import complete
from datasets.batches import Batches, TrainingBatches

def read(i):
    raise AssertionError("decoded already")

images, labels, _ = decoded(Path("set"), 30_000, read, 256, "train")
dataset = complete("large", Source(Split(images, labels), tuple("abcde")), 0.1, 0)
training, val = TrainingBatches(dataset, 32, 0), Batches(dataset, dataset.val)
for step in range(12):
    training[step], val[step]
# It counts what this process shares with the one that it was forked from, too.
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"peak_mb": int(peak) / 1024, "train": len(dataset.train)}))
"""


def test_thirty_thousand_large_images_train_in_under_2_gb(tmp_path):
    """5.9 GB of pixels in a file with a hole for content."""
    folder = tmp_path / "set"
    folder.mkdir()
    with open(folder / "images.bin", "wb") as file:
        file.truncate(30_000 * 256 * 256 * 3)
    contents = {"shape": [30_000, 256, 256, 3], "labels": (np.arange(30_000) % 5).tolist(), "broken": []}
    (folder / "contents.json").write_text(json.dumps(contents))
    process = run_python("-c", LARGE, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    assert found["train"] == 24_000
    assert found["peak_mb"] < 2048
