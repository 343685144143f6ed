"""Shortcuts (Geirhos et al. 2020): classes that can be told without looking at what a picture shows.

For each kind of fact a forest of trees learns the class from that alone. Its predictions are cross-validated: pictures that
repeat one another, or are of one group, are never in both parts.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedGroupKFold

FOLDS = 5
TREES = 60
LEAF = 3  # pictures in a leaf, at least


@dataclass(frozen=True)
class Shortcut:
    """Accuracy by one kind of fact alone, as the mean over classes, in 0..1; the interval holds for all kinds together (95 %).

    `accuracy` is None where all pictures are equal in it, or where a class has too few pictures.
    """

    kind: str
    chance: float
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    why_not: str = ""

    @property
    def is_found(self) -> bool:
        """True if the fact tells classes better than chance."""
        return self.low is not None and self.low > self.chance


def find_shortcuts(pictures, families):
    """Return a Shortcut for each kind of fact. `families` `(N,)` are numbers of what must not be divided."""
    kinds = _facts(pictures)
    return [_measure(kind, facts, pictures.labels, families, len(kinds)) for kind, facts in kinds.items()]


def _facts(pictures):
    """Return {kind: facts `(N, F)`}."""
    kinds = {"colour of the border": pictures.border}
    if pictures.files is None or None in pictures.files:
        return kinds
    sizes = np.array([(file.width, file.height) for file in pictures.files], "float32")
    types = [(file.kind, name.rpartition(".")[2].lower()) for file, name in zip(pictures.files, pictures.names, strict=True)]
    known = sorted(set(types))
    return kinds | {
        "width and height": sizes,
        "aspect": sizes[:, :1] / sizes[:, 1:],
        "file type": np.array([[kind == one for one in known] for kind in types], "float32"),
    }


def _measure(kind, facts, labels, families, kinds):
    present, labels = np.unique(labels, return_inverse=True)
    chance = 1.0 / len(present)
    if not np.ptp(facts, axis=0).any():
        return Shortcut(kind, chance, why_not="equal in all pictures")
    smallest = np.bincount(np.unique(np.stack([labels, families]), axis=1)[0]).min()
    if smallest < 2:
        return Shortcut(kind, chance, why_not="a class has a single picture, or pictures of a single group")
    predicted = np.empty_like(labels)
    parts = StratifiedGroupKFold(min(FOLDS, smallest), shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer pictures than folds
        divided = list(parts.split(facts, labels, families))
    for train, test in divided:
        forest = ExtraTreesClassifier(TREES, min_samples_leaf=LEAF, class_weight="balanced", random_state=0)
        predicted[test] = forest.fit(facts[train], labels[train]).predict(facts[test])
    return Shortcut(kind, chance, *_interval(predicted == labels, labels, families, kinds))


def _interval(is_right, labels, families, kinds):
    """Return the mean over classes of the share of right answers, and its interval (normal, Bonferroni for `kinds`).

    Answers within a family are not independent: the variance is that of the sums of families, and a class's is at least that
    of as many independent answers as it has families, none of which is certain.
    """
    share = np.bincount(labels, is_right) / np.bincount(labels)
    pairs, pair = np.unique(np.stack([labels, families]), axis=1, return_inverse=True)
    sums = np.bincount(pair.ravel(), is_right - share[labels])
    several = np.bincount(pairs[0])
    variance = np.bincount(pairs[0], sums**2) / np.bincount(labels) ** 2 * several / np.maximum(several - 1, 1)
    cautious = (share * several + 1) / (several + 2)
    variance = np.maximum(variance, cautious * (1 - cautious) / several)
    reach = float(norm.ppf(1 - 0.025 / kinds) * np.sqrt(variance.sum()) / len(share))
    accuracy = float(share.mean())
    return accuracy, max(accuracy - reach, 0.0), min(accuracy + reach, 1.0)
