"""Metrics against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from lab.exporting.card import table_of_splits
from lab.reports.statistics import Estimate
from lab.training.evaluation import accuracy_interval, confusion_matrix, measure, most_confused
from lab.training.metrics_table import print_splits

pytestmark = pytest.mark.numeric


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), classes=st.integers(2, 12), count=st.integers(1, 60))
def test_metrics_equal_those_of_scikit_learn(seed, classes, count):
    random = np.random.default_rng(seed)
    labels, logits = random.integers(0, classes, count), random.standard_normal((count, classes)).astype("float32")
    ours, everyone = measure(logits, labels), np.arange(classes)
    predicted = logits.argmax(1)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.isclose(ours["accuracy"], metrics.accuracy_score(labels, predicted))
    assert np.isclose(ours["f1_macro"], metrics.f1_score(labels, predicted, average="macro", zero_division=0))
    assert ours.get("absent_classes", []) == [label for label in everyone if label not in labels]
    assert np.isclose(ours["f1_micro"], ours["accuracy"])
    assert np.isclose(ours["loss"], metrics.log_loss(labels, shares, labels=everyone), rtol=1e-5)
    assert ours["images"] == count
    if classes > 5:
        assert np.isclose(ours["top5_accuracy"], metrics.top_k_accuracy_score(labels, logits, k=5, labels=everyone))
    assert np.array_equal(confusion_matrix(logits, labels), metrics.confusion_matrix(labels, predicted, labels=everyone))


def test_large_logits_do_not_overflow():
    assert measure(np.array([[1e4, -1e4]], "float32"), np.array([1]))["loss"] == 2e4


def test_the_most_confused_pairs_come_first():
    confusion = np.array([[8, 2, 0], [5, 5, 0], [0, 1, 9]])
    pairs = most_confused(confusion, ("a", "b", "c"))
    assert [(pair["true"], pair["predicted"], pair["images"]) for pair in pairs] == [("b", "a", 5), ("a", "b", 2), ("c", "b", 1)]
    assert pairs[0]["share"] == 0.5


def test_a_perfect_network_has_a_macro_f1_of_one_also_where_a_class_has_no_image(capsys):
    found = measure(np.eye(4, dtype="float32")[[0, 0, 1, 3]], np.array([0, 0, 1, 3]))
    assert found["f1_macro"] == found["accuracy"] == 1.0
    print_splits({"test": found}, ("ant", "bee", "cow", "dog"))
    assert "test has no image of cow: macro F1 is over the classes that are there" in capsys.readouterr().out
    metrics = dict.fromkeys(("train", "val", "test"), found) | {"most_confused": []}
    assert "test has no image of cow" in table_of_splits(metrics, ("ant", "bee", "cow", "dog"))


@given(images=st.integers(1, 999), data=st.data())
def test_an_accuracys_interval_holds_the_accuracy_and_is_wilsons(images, data):
    hits = data.draw(st.integers(0, images))
    low, high = accuracy_interval(hits / images, images)
    share, z = hits / images, 1.959963984540054
    middle, half = share + z**2 / (2 * images), z * np.sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
    assert np.allclose((low, high), (np.array([middle - half, middle + half]) / (1 + z**2 / images)).clip(0, 1), atol=1e-9)
    assert 0 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1


def test_the_table_shows_intervals_of_small_splits_only(capsys):
    small = {"loss": 1.0, "accuracy": 0.8, "f1_micro": 0.8, "f1_macro": 0.8, "images": 5}
    print_splits({"train": small | {"images": 5000}, "test": small}, ("a", "b"))
    _, head, train, test = capsys.readouterr().out.splitlines()
    assert "95 % interval" in head and "37.6 to 96.4 %" in test and " to " not in train
    print_splits({"train": small | {"images": 5000}}, ("a", "b"))
    assert "interval" not in capsys.readouterr().out


def test_an_interval_of_accuracies_stays_within_0_and_100_percent():
    assert Estimate.of([99.0, 100.0, 98.0], within=(0.0, 100.0)).interval[1] == 100.0
    assert Estimate.of([1.0, 0.0, 2.0], within=(0.0, 100.0)).interval[0] == 0.0
    assert Estimate.of([99.0, 100.0, 98.0]).interval[1] > 100.0
