"""Which classes a gallery shows where nobody says, and how it says that some have few answers."""

from types import SimpleNamespace

import numpy as np

from datasets.dataset import Split
from lab.explanations.examples import BIRDS, Group, shortages_of, shown_classes


def network(predicted, labels, dataset="digits"):
    names = tuple(f"class {i}" for i in range(10))
    val = Split(np.zeros((len(labels), 8, 8, 3), "uint8"), np.array(labels))
    probabilities = np.eye(10)[predicted]
    return SimpleNamespace(
        config=SimpleNamespace(dataset=dataset),
        dataset=SimpleNamespace(val=val, class_names=names),
        probabilities=lambda split: probabilities,
    )


def test_the_classes_with_errors_come_first():
    labels = [*range(10), 9, 9, 8]
    predicted = [*range(9), 0, 0, 9, 1]
    assert shown_classes(network(predicted, labels))[:3] == ["class 9", "class 8", "class 0"]
    assert len(shown_classes(network(predicted, labels))) == 7
    assert shown_classes(network(labels, labels)) == [f"class {i}" for i in range(7)]
    assert shown_classes(network(predicted, labels, "indian_birds")) == BIRDS


def test_a_shortage_of_many_classes_is_one_note():
    groups = [Group("ant", [], [], 9, 0), Group("bee", [], [], 9, 0), Group("cow", [], [], 3, 1)]
    assert shortages_of(groups, 5) == [
        "ant, bee: no wrong answers on val, fewer than the 5 asked for",
        "cow: 3 right answers on val, fewer than the 5 asked for",
        "cow: 1 wrong answer on val, fewer than the 5 asked for",
    ]
