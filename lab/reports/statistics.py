"""Statistics over several seeds: means, deviations, intervals, paired differences."""

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from foundation.randomness import generator

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds. Its deviation (of single values, ddof 1) and interval (of the mean, Student's t) need two seeds.

    Values that are all the same have no interval: an empty one would claim certainty.
    """

    mean: float
    count: int
    deviation: float | None = None
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, values, within=(-np.inf, np.inf)):
        """Return the Estimate of values. The values, and so their mean, lie `within` two bounds."""
        values = np.asarray(values, float)
        mean, count = float(values.mean()), len(values)
        if count < 2:
            return cls(mean, count)
        if _are_alike(values):
            return cls(mean, count, 0.0)
        deviation = float(values.std(ddof=1))
        low, high = interval_of(values)
        return cls(mean, count, deviation, (max(low, within[0]), min(high, within[1])))

    @property
    def excludes_zero(self) -> bool | None:
        """True if the interval lies on one side of zero, False if it includes zero, None if there is no interval."""
        return None if self.interval is None else not self.interval[0] <= 0 <= self.interval[1]


def _are_alike(values):
    """Return whether values are the same but for rounding, which differences of equal values keep."""
    return np.ptp(values) <= 1e-9 * max(np.abs(values).max(), 1.0)


def interval_of(values, confidence=CONFIDENCE):
    """Return the interval of the mean of values by Student's t."""
    values = np.asarray(values, float)
    quantile = special.stdtrit(len(values) - 1, (1 + confidence) / 2)
    half = float(quantile * values.std(ddof=1)) / len(values) ** 0.5
    return float(values.mean()) - half, float(values.mean()) + half


def bootstrap_interval(statistic, images, purpose, resamples) -> tuple[float, float]:
    """Return the 95 % interval over images of `statistic(places)`, drawn with replacement (Efron 1979) by a fixed seed."""
    random = generator(0, purpose)
    found = [statistic(random.integers(0, images, images)) for _ in range(resamples)]
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def exact_interval(accuracy, images, confidence=CONFIDENCE) -> tuple[float, float]:
    """Return the exact interval (Clopper & Pearson 1934), usually of 95 %, of an accuracy on so many images, both in 0..1."""
    interval = stats.binomtest(round(accuracy * images), images).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def paired_difference(values, others) -> Estimate | None:
    """Return the Estimate of the difference of two arms, from the seeds that both have; None if they share none.

    Both are {seed: value}. Runs of one seed share data order, augmentation and split, so their difference is less noisy than
    that of the means.
    """
    differences = paired_values(values, others)
    return Estimate.of(list(differences.values())) if differences else None


def paired_values(values, others):
    """Return {seed: difference} for the seeds that both have."""
    return {seed: values[seed] - others[seed] for seed in sorted(values.keys() & others.keys())}


def weighted_values(weights, values) -> dict[int, float]:
    """Return {seed: weighted sum over arms} for the seeds that all of them have. `weights` is {arm: weight}."""
    seeds = set.intersection(*(set(values[arm]) for arm in weights))
    return {seed: sum(weight * values[arm][seed] for arm, weight in weights.items()) for seed in sorted(seeds)}


def unpaired_difference(values, others) -> Estimate | None:
    """Return the Estimate of the difference of two means of unrelated values (Welch's t); None if one of them has no values.

    It has no interval if one of them has a single value, or if both have values that are all alike.
    """
    if not len(values) or not len(others):
        return None
    mean = float(np.mean(values) - np.mean(others))
    if min(len(values), len(others)) < 2 or (_are_alike(values) and _are_alike(others)):
        return Estimate(mean, len(values) + len(others))
    interval = stats.ttest_ind(values, others, equal_var=False).confidence_interval(CONFIDENCE)
    return Estimate(mean, len(values) + len(others), None, (float(interval.low), float(interval.high)))
