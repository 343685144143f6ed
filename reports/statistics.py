"""What several seeds say together: means, spreads, intervals, paired differences."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds; deviation (of single values, ddof 1) and interval (of the mean, Student's t) need two seeds."""

    mean: float
    count: int
    deviation: float | None = None
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, values):
        values = np.asarray(values, float)
        mean, count = float(values.mean()), len(values)
        if count < 2:
            return cls(mean, count)
        deviation = float(values.std(ddof=1))
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * deviation / count**0.5
        return cls(mean, count, deviation, (mean - half, mean + half))

    @property
    def excludes_zero(self):
        """Whether the interval lies on one side of zero; None for a single seed, of which nothing can be said."""
        return None if self.interval is None else not self.interval[0] <= 0 <= self.interval[1]


def paired_difference(values, others):
    """The Estimate of the difference of two arms, from the seeds that both have; None where they share none.

    Both are {seed: value}. Runs of one seed share data order, augmentation and split, so their difference is less noisy
    than that of the means.
    """
    seeds = sorted(values.keys() & others.keys())
    return Estimate.of([values[seed] - others[seed] for seed in seeds]) if seeds else None


def unpaired_difference(values, others):
    """The Estimate of the difference of two means of unrelated values (Welch's t); None where one of them has none."""
    if not len(values) or not len(others):
        return None
    mean = float(np.mean(values) - np.mean(others))
    if min(len(values), len(others)) < 2:
        return Estimate(mean, len(values) + len(others))
    interval = stats.ttest_ind(values, others, equal_var=False).confidence_interval(CONFIDENCE)
    return Estimate(mean, len(values) + len(others), None, (float(interval.low), float(interval.high)))
