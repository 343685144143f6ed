"""Temperature scaling (Guo et al. 2017, section 4.2): logits divided by one number, so that confidence means accuracy."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from lab.reports.statistics import bootstrap_interval
from lab.training.evaluation import cross_entropy

LOWEST, HIGHEST = 0.05, 20.0
RESAMPLES = 100  # of val, for the interval


@dataclass(frozen=True)
class Temperature:
    """The number, its 95 % interval over images (bootstrap), and a note where it could not be fitted."""

    value: float
    interval: tuple[float, float] | None = None
    note: str = ""


def fit_temperature(logits, labels) -> Temperature:
    """Return the Temperature with the lowest cross-entropy on logits `(N, classes)` and labels `(N,)`, which are val's.

    Where no answer is wrong, or none is better than chance, no temperature is best; then it is 1.
    """
    value = _best(logits, labels)
    if (logits.argmax(1) == labels).all() or not 1.01 * LOWEST < value < HIGHEST / 1.01:
        return Temperature(1.0, note="no temperature fits: val has no wrong answer, or its answers are no better than chance")

    def best_of(places):
        return _best(logits[places], labels[places])

    return Temperature(value, bootstrap_interval(best_of, len(labels), "images for the temperature", RESAMPLES))


def _best(logits, labels):
    """Return the minimum: cross-entropy is convex in 1 / T, so it has one."""

    def loss(log):
        return cross_entropy(logits / np.exp(log), labels).mean()

    found = optimize.minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))
