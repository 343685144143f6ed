"""Statistics over several seeds: means, deviations, intervals, paired differences."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

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
        if np.ptp(values) <= 1e-9 * max(np.abs(values).max(), 1.0):  # differences of equal values keep some rounding
            return cls(mean, count, 0.0)
        deviation = float(values.std(ddof=1))
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * deviation / count**0.5
        return cls(mean, count, deviation, (max(mean - half, within[0]), min(mean + half, within[1])))

    @property
    def excludes_zero(self):
        """True if the interval lies on one side of zero, False if it includes zero, None if there is no interval."""
        return None if self.interval is None else not self.interval[0] <= 0 <= self.interval[1]

    def in_words(self):
        """Return in words how far a mean of paired differences may be trusted."""
        if self.count == 1:
            return "a single seed, which shows no difference by itself"
        if self.interval is None:
            return f"each of {self.count} seeds, too few and too alike for an interval"
        low, high = self.interval
        return f"95 % interval {low:+.2f} to {high:+.2f}, {self.count} paired seeds"


def paired_difference(values, others):
    """Return the Estimate of the difference of two arms, from the seeds that both have; None if they share none.

    Both are {seed: value}. Runs of one seed share data order, augmentation and split, so their difference is less noisy than
    that of the means.
    """
    differences = paired_values(values, others)
    return Estimate.of(list(differences.values())) if differences else None


def paired_values(values, others):
    """Return {seed: difference} for the seeds that both have."""
    return {seed: values[seed] - others[seed] for seed in sorted(values.keys() & others.keys())}


def unpaired_difference(values, others):
    """Return the Estimate of the difference of two means of unrelated values (Welch's t); None if one of them has no values."""
    if not len(values) or not len(others):
        return None
    mean = float(np.mean(values) - np.mean(others))
    if min(len(values), len(others)) < 2:
        return Estimate(mean, len(values) + len(others))
    interval = stats.ttest_ind(values, others, equal_var=False).confidence_interval(CONFIDENCE)
    return Estimate(mean, len(values) + len(others), None, (float(interval.low), float(interval.high)))
