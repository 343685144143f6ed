"""Sets of TensorFlow Datasets: prepared ones are read, and one process prepares."""

import numpy as np
import pytest
from conftest import ROOT, run_python

from datasets.catalog import load
from foundation.errors import UserError

PREPARE = """
import sys, numpy as np, tensorflow_datasets as tfds
class {name}(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("{version}")
    pkg_dir_path = "."
    def _info(self):
        image, label = tfds.features.Image(shape=(32, 32, {channels})), tfds.features.ClassLabel(num_classes={classes})
        features = {{"id": tfds.features.Text(), "image": image, "label": label}}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))
    def _split_generators(self, manager):
        return {{"train": self._generate_examples(40 * {classes}), "test": self._generate_examples(10, label={label})}}
    def _generate_examples(self, count, label=None):
        for i in range(count):
            level = 20 * (i % {classes}) + i // {classes} % 20
            yield i, {{"id": str(i), "image": np.full((32, 32, {channels}), level, "uint8"), "label": label or i % {classes}}}
{name}(data_dir="data", file_format="array_record").download_and_prepare()
"""


@pytest.mark.parametrize(
    ("name", "builder", "version", "channels", "classes"),
    [("tfds:tiny_squares", "TinySquares", "1.0.0", 1, 3), ("cifar10", "Cifar10", "3.0.2", 3, 10)],
)
def test_a_prepared_set_of_tensorflow_datasets_is_read(name, builder, version, channels, classes, in_folder):
    script = PREPARE.format(name=builder, version=version, channels=channels, classes=classes, label=None)
    prepared = run_python("-c", script, cwd=in_folder, backend="tensorflow")  # which has imported most of it
    assert prepared.returncode == 0, prepared.stderr
    loaded = load(name)
    assert [len(split) for split in (loaded.train, loaded.val, loaded.test)] == [36 * classes, 4 * classes, 10]
    assert loaded.image_shape == (32, 32, 3) and loaded.classes == classes
    for image, label in zip(loaded.train.read(), loaded.train.labels, strict=True):
        assert np.ptp(image) == 0 and image[0, 0, 0] // 20 == label
    if name == "cifar10":
        assert loaded.mean.tolist() == pytest.approx([0.4914, 0.4822, 0.4465])


WANTED_TWICE = """
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import datasets.tensorflow_datasets
from datasets.catalog import load

datasets.tensorflow_datasets.check_network = lambda: None
prepared, generate = [], WantedTwice._split_generators
WantedTwice._split_generators = lambda *given: [prepared.append(1), time.sleep(0.5), generate(*given)][-1]
with ThreadPoolExecutor(2) as pool:
    sets = list(pool.map(lambda _: load("tfds:wanted_twice"), range(2)))
assert [len(loaded.train) for loaded in sets] == [108, 108] and len(prepared) == 1
Path("data/.wanted_twice.lock").unlink()
load("tfds:wanted_twice")
assert not list(Path("data").glob(".*"))  # where the set lies nothing is written: nobody may be allowed to
"""


def test_of_processes_that_want_a_set_of_tensorflow_datasets_at_once_one_prepares_it(in_folder):
    script = PREPARE.format(name="WantedTwice", version="1.0.0", channels=3, classes=3, label=None)
    process = run_python("-c", script.rpartition("WantedTwice(")[0] + WANTED_TWICE, cwd=in_folder, backend="tensorflow")
    assert process.returncode == 0, process.stderr


def test_a_test_split_without_labels_is_left_out(in_folder):
    script = PREPARE.format(name="Unlabelled", version="1.0.0", channels=3, classes=3, label=-1)
    prepared = run_python("-c", script, cwd=in_folder, backend="tensorflow")  # which has imported most of it
    assert prepared.returncode == 0, prepared.stderr
    loaded = load("tfds:unlabelled")
    assert [len(split) for split in (loaded.train, loaded.val, loaded.test)] == [96, 12, 12]  # test is drawn from train
    assert "test of unlabelled has images without a label and is not used" in loaded.notes


def test_a_version_of_a_set_is_named_as_it_is(in_folder):
    for name in ("tfds:mnist:9.9.9", "tfds:mnist/a=b"):
        with pytest.raises(UserError, match=r"unknown TensorFlow data set|is not one of TensorFlow Datasets' own"):
            load(name)


def test_without_a_network_a_line_says_where_the_data_belongs(in_folder):
    process = run_python(ROOT / "train.py", "--dataset", "cifar10", cwd=in_folder)
    assert process.returncode == 2
    assert "cifar10 could not be downloaded" in process.stderr and str(in_folder / "data" / "cifar10") in process.stderr
    assert process.stderr.count("error:") == 1 and "Traceback" not in process.stderr


def test_an_unknown_set_of_tensorflow_datasets_is_one_line(in_folder):
    with pytest.raises(UserError, match="unknown TensorFlow data set 'cifer10'"):
        load("tfds:cifer10")
