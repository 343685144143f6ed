"""Label errors by networks that have not seen the pictures: folds of pictures, and their trainings."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import write_images
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.catalog import load
from datasets.dataset import Split
from datasets.joined import joined
from foundation.errors import UserError
from foundation.settings import Config
from lab.auditing.folds import divided, out_of_fold


@given(st.integers(0, 99), st.integers(2, 5))
@settings(max_examples=15)
def test_every_picture_is_predicted_once_by_a_network_that_saw_none_of_its_family(seed, folds):
    random = np.random.default_rng(seed)
    families = np.repeat(np.arange(40), random.integers(1, 4, 40))
    labels = families % 3
    parts = divided(labels, families, folds, seed, 3)
    assert sorted(np.concatenate([held for _, held in parts])) == list(range(len(labels)))
    assert all(not set(families[seen]) & set(families[held]) for seen, held in parts)


def test_splits_are_joined_as_they_stand():
    splits = [Split(np.full((n, 2, 2, 3), n, "uint8"), np.full(n, n), rows=np.arange(n)[::-1]) for n in (3, 4)]
    whole = joined(splits, ("train", "val"))
    assert whole.labels.tolist() == [3] * 3 + [4] * 4 and whole.names("") == [f"train {i}" for i in range(3)] + [
        f"val {i}" for i in range(4)
    ]
    assert whole.read([6, 0, 3])[:, 0, 0, 0].tolist() == [4, 3, 4] and len(whole.signatures()) == 7
    assert whole.select([4, 1]).read()[:, 0, 0, 0].tolist() == [4, 3]


def test_predictions_of_folds_are_trained_once_and_follow_the_labels(in_folder):
    write_images(in_folder / "set", ("dark", "light"), 24, size=8)
    config = Config(dataset="folder:set", model="resnet20", n=1, epochs=6, batch_size=4, max_shift=1)
    dataset = load("folder:set")
    families = np.arange(48)
    found = out_of_fold(dataset, config, families, in_folder / "folds", folds=2)
    assert found.shape == (48, 2) and found.sum(1) == pytest.approx(1, abs=1e-5)
    labels = np.concatenate([split.labels for split in dataset.splits.values()])
    assert (found.argmax(1) == labels).mean() > 0.7
    histories = {path: path.stat().st_mtime_ns for path in in_folder.glob("folds/*/history.json")}
    assert len(histories) == 2
    assert np.array_equal(found, out_of_fold(dataset, config, families, in_folder / "folds", folds=2))
    relabelled = replace(dataset, train=replace(dataset.train, labels=1 - dataset.train.labels))
    assert relabelled.fingerprint != dataset.fingerprint
    with pytest.raises(UserError, match="has only 24 pictures"):
        out_of_fold(dataset, config, families, in_folder / "folds", folds=30)
