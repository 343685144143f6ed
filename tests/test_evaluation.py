"""Metrics against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from training.evaluation import confusion_matrix, measure, most_confused

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
    assert np.isclose(ours["f1_macro"], metrics.f1_score(labels, predicted, labels=everyone, average="macro", zero_division=0))
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
