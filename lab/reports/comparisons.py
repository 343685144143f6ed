"""Comparisons of a study as one family: p-values adjusted for their number, and the verdict of each."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import special

from foundation.grammar import counted
from lab.reports.looks import Looks
from lab.reports.power import MOST_SEEDS, POWER, detectable_effect, seeds_needed
from lab.reports.statistics import Estimate, interval_of

ALPHA = 0.05  # of a family: the probability of one false claim or more
PILOT = 2  # so many seeds, and fewer, are too few for a verdict

BETTER, WORSE, SAME = "better", "worse", "the same"
NOT_DISTINGUISHABLE, NO_TEST, PILOT_ONLY, ONE_SEED = "not distinguishable", "no test", "pilot", "single seed"


@dataclass(frozen=True)
class Comparison:
    """Paired difference of two arms in points, or of two such differences (a contrast), as one of a family of comparisons.

    `p` is that of the paired t test, `adjusted` is p after Holm within the family; None where there is no test: with one seed,
    or with differences that are all alike. `p_same` is that of two one-sided t tests (Schuirmann 1987) of a difference within
    `margin` points, also after Holm. With `looks`, all of these and the intervals are those of a sequential test.
    """

    name: str
    other: str | None  # the arm that it is compared with; None for a contrast
    values: tuple[float, ...]  # one for each seed that both have; none yet: it counts in its family all the same
    margin: float | None = None
    family: int = 1  # how many comparisons the family has
    adjusted: float | None = None
    p_same: float | None = None
    looks: Looks | None = None  # None: the number of seeds was fixed beforehand

    @property
    def label(self) -> str:
        return f"{self.name} minus {self.other}" if self.other else self.name

    @cached_property
    def difference(self) -> Estimate:
        found = Estimate.of(self.values)
        return replace(found, interval=self._interval(ALPHA)) if self.looks and found.interval else found

    @property
    def has_test(self) -> bool:
        was_looked_at = self.looks is None or bool(self.looks.pairs)
        return was_looked_at and len(self.values) > 1 and bool(self.difference.deviation)

    @property
    def spread(self) -> float | None:
        """Deviation of the values in points; None in a pilot, which hardly tells it, and where there is no test."""
        return self.difference.deviation if self.has_test and len(self.values) > PILOT else None

    def _interval(self, alpha):
        if self.looks is None:
            return interval_of(self.values, 1 - alpha)
        return self.looks.interval(self.values, alpha) if self.looks.pairs else None

    @property
    def p(self):
        if not self.has_test:
            return None
        return self.looks.p_two_sided(self.values) if self.looks else 2 * self._p_above(abs(self.difference.mean))

    def _p_above(self, distance):
        """Return the one-sided p of Student's t for a mean so many points above that of the null hypothesis."""
        error = self.difference.deviation / len(self.values) ** 0.5
        return float(special.stdtr(len(self.values) - 1, -distance / error))

    @property
    def unadjusted_p_same(self):
        """The larger p of the two one-sided tests; None without a margin or a test."""
        if self.margin is None or not self.has_test:
            return None
        if self.looks:
            negative = tuple(-value for value in self.values)
            return max(self.looks.p_above(values, -self.margin) for values in (self.values, negative))
        return self._p_above(self.margin - abs(self.difference.mean))

    @property
    def simultaneous(self):
        """Interval that holds together with those of the whole family in 95 of 100 studies (Bonferroni)."""
        return self._interval(ALPHA / self.family) if self.has_test else None

    @property
    def effect(self) -> float | None:
        """Effect size: the mean difference in deviations of the differences, unbiased (Hedges 1981); None in a pilot."""
        if self.spread is None:
            return None
        half = (len(self.values) - 1) / 2
        bias = np.exp(special.gammaln(half) - special.gammaln(half - 0.5)) / half**0.5
        return float(bias * self.difference.mean / self.spread)

    @property
    def detectable(self):
        """Smallest difference in points that this number of seeds with this spread detects with a power of 80 %.

        It is taken at the family's smallest alpha (Bonferroni): it is detected whatever the other comparisons show. None in a
        pilot, which detects nothing.
        """
        if self.spread is None:
            return None
        level = ALPHA / self.family
        level = self.looks.nominal(level) if self.looks else level
        return self.spread * detectable_effect(len(self.values), level)

    @property
    def seeds_needed(self) -> int | None:
        """Return the number of seeds that would detect the difference seen, if it is the true one, with a power of 80 %.

        None where the spread is not known (two seeds hardly tell it) or where they are more than MOST_SEEDS.
        """
        if self.spread is None:
            return None
        return seeds_needed(abs(self.difference.mean) / self.spread, ALPHA / self.family, least=PILOT + 1)

    @property
    def verdict(self):
        count = len(self.values)
        if count <= PILOT:
            return ONE_SEED if count == 1 else PILOT_ONLY
        if not self.has_test or self.adjusted is None:
            return NO_TEST
        if self.adjusted <= ALPHA:
            return BETTER if self.difference.mean > 0 else WORSE
        return SAME if self.is_same else NOT_DISTINGUISHABLE

    @property
    def is_same(self) -> bool:
        """Return whether the difference is shown to lie within the margin; a pilot shows nothing."""
        return self.p_same is not None and len(self.values) > PILOT and self.p_same <= ALPHA

    @property
    def is_answered(self) -> bool:
        """Return whether the comparison is called different, or the same within the margin."""
        return self.verdict in (BETTER, WORSE, SAME)

    def sentence(self) -> str:
        """Return a sentence with the verdict, and with what could have been detected where nothing was."""
        return _SENTENCES[self.verdict](self)


def adjusted(comparisons, margin=None):
    """Return the comparisons as one family, with p after Holm (1979); sameness within `margin` points is a family of its own.

    Comparisons without a test count as others do, with p = 1: a study does not ask fewer questions because a run is missing.
    """
    family = [replace(comparison, margin=margin, family=len(comparisons)) for comparison in comparisons]
    different = holm([comparison.p for comparison in family])
    same = holm([comparison.unadjusted_p_same for comparison in family])
    return [replace(one, adjusted=p, p_same=q) for one, p, q in zip(family, different, same, strict=True)]


def holm(values):
    """Return p-values after Holm; None stays None and counts as 1.

    statsmodels' multipletests does the same, but collects garbage at every call, which takes 50 ms beside Keras: studies with
    looks adjust after every run.
    """
    order = sorted(range(len(values)), key=lambda place: 1.0 if values[place] is None else values[place])
    found, before = list(values), 0.0
    for rank, place in enumerate(order):
        if values[place] is not None:
            found[place] = before = max(before, min((len(values) - rank) * values[place], 1.0))
    return found


def p_in_words(p) -> str:
    """Return a p-value as text, such as "0.042" and "< 0.001"."""
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _points(comparison):
    return f"{comparison.difference.mean:+.2f} points"


def _pair(comparison):
    return f"{comparison.name} against {comparison.other}" if comparison.other else comparison.name


def _p(p):
    text = p_in_words(p)
    return f"p {text} after Holm" if text.startswith("<") else f"p = {text} after Holm"


def _interval(comparison):
    low, high = comparison.difference.interval
    return f"95 % interval {low:+.2f} to {high:+.2f}"


def _evidence(comparison):
    among = counted(comparison.family, "comparison")
    seeds = f"{len(comparison.values)} paired seeds"
    looked = f", answered by {comparison.looks}" if comparison.looks and comparison.is_answered else ""
    return f"{_interval(comparison)}, {_p(comparison.adjusted)} among {among}, {seeds}{looked}"


def _alike(comparison):
    return f"the same for each of {len(comparison.values)} seeds, hence without an interval"


def _of_one_seed(comparison):
    return f"{_pair(comparison)}: {_points(comparison)} (a single seed, which shows no difference by itself)."


def _of_pilot(comparison):
    deviation = comparison.difference.deviation
    spread = _interval(comparison) if comparison.has_test else f"deviation {deviation:.2f}" if deviation else _alike(comparison)
    return f"{_pair(comparison)}: {_points(comparison)} (a pilot of two seeds, too few for a verdict; {spread})."


def _of_no_test(comparison):
    return f"{_pair(comparison)}: {_points(comparison)} (no verdict: {_alike(comparison)})."


def _of_difference(comparison):
    also = f"; it is within {comparison.margin:g} points all the same" if comparison.is_same else ""
    if comparison.other is None:
        return f"{comparison.name}: {_points(comparison)}, different from none ({_evidence(comparison)}){also}."
    verdict = f"{abs(comparison.difference.mean):.2f} points {comparison.verdict} than {comparison.other}"
    return f"{comparison.name} is {verdict} ({_evidence(comparison)}){also}."


def _of_sameness(comparison):
    verdict = f"the same as {comparison.other or 'none'} within {comparison.margin:g} points"
    tests = f"two one-sided tests, {_p(comparison.p_same)}"
    return f"{comparison.name} is {verdict}: {_points(comparison)} ({tests}; {_evidence(comparison)})."


def _of_nothing(comparison):
    needed = comparison.seeds_needed
    return (
        f"{comparison.name} is not distinguishable from {comparison.other or 'none'}: {_points(comparison)}"
        f" ({_evidence(comparison)}). So many seeds with this spread detect {comparison.detectable:.2f} points with"
        f" {100 * POWER:.0f} % power; to detect the difference seen takes"
        f" {f'more than {MOST_SEEDS:,}' if needed is None else f'about {needed:,}'} seeds."
    )


_SENTENCES = {
    BETTER: _of_difference,
    WORSE: _of_difference,
    SAME: _of_sameness,
    NOT_DISTINGUISHABLE: _of_nothing,
    NO_TEST: _of_no_test,
    PILOT_ONLY: _of_pilot,
    ONE_SEED: _of_one_seed,
}
