"""Few images and unequal classes are told of before anything is trained."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from datasets.class_counts import counts_of, notes_on_counts
from datasets.dataset import Source, Split
from datasets.splits import complete
from foundation.errors import UserError


def split(*counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return Split(np.zeros((len(labels), 8, 8, 3), "uint8"), labels)


def dataset(train, val, test):
    names = tuple(f"class {i}" for i in range(len(train)))
    return SimpleNamespace(train=split(*train), val=split(*val), test=split(*test), class_names=names, classes=len(names))


def test_splits_of_few_images_are_counted_class_by_class():
    few = dataset((50, 60), (12, 5), (10, 10))
    assert counts_of(few).tolist() == [[50, 12, 10], [60, 5, 10]]
    note, head, *rows = notes_on_counts(few, "none")
    assert "fewer than 10 images of a class" in note and head.split() == ["images", "of", "train", "val", "test"]
    assert [row.split()[2:] for row in rows] == [["50", "12", "10"], ["60", "5", "10"]]
    assert notes_on_counts(dataset((50, 60), (12, 10), (10, 10)), "none") == []


def test_of_many_classes_the_smallest_are_shown():
    many = dataset([20] * 39 + [9], [20] * 40, [20] * 40)
    lines = notes_on_counts(many, "none")
    assert len(lines) == 2 + 30 + 1 and lines[2].startswith("class 39") and lines[-1].startswith("and 10 more")


def test_weights_are_suggested_where_classes_differ_fivefold():
    unequal = dataset((50, 250), (10, 50), (10, 50))
    (line,) = notes_on_counts(unequal, "none")
    assert "250 images of class 1 and 50 of class 0" in line and "--class-weights balanced" in line
    assert notes_on_counts(unequal, "balanced") == []
    assert notes_on_counts(dataset((51, 250), (10, 50), (10, 50)), "none") == []


@settings(max_examples=30)
@example(counts=[2, 12, 12, 12, 12], seed=0)
@given(counts=st.lists(st.integers(1, 12), min_size=2, max_size=5), seed=st.integers(0, 99))
def test_a_set_that_is_too_small_names_the_fraction_that_works(counts, seed):
    source = Source(split(*counts), tuple("abcde"[: len(counts)]))
    try:
        complete("tiny", source, 0.01, seed)
        assume(False)
    except UserError as error:
        words = str(error)
    if "--val-fraction 0" in words:
        named = float(words.partition("--val-fraction ")[2].split()[0])
        done = complete("tiny", source, named, seed)
        assert min(len(done.val), len(done.test)) >= len(counts)
        with pytest.raises(UserError):
            complete("tiny", source, round(named - 0.01, 2) or 0.001, seed)  # 4.5 images are 4, a little more are 5
    else:
        assert "no --val-fraction works" in words
        with pytest.raises(UserError):
            complete("tiny", source, 0.3, seed)
