"""Looks at a comparison while its seeds come: boundaries of t statistics that spend the probability of a false claim.

The error is spent by a function of the share of seeds (Lan & DeMets 1983). Boundaries are those of t statistics themselves, not
of the normal distribution that they approach with many seeds: their joint distribution at all looks is computed exactly but for
quadrature, as in Jennison & Turnbull 1991 ("Exact calculations for sequential t, chi-squared and F tests", Biometrika 78).

How. The t statistic of n differences is a function of the cosine r between their vector and (1, ..., 1). If there is no
difference, the direction of the vector is uniform and independent of its length. Hence with m - n more differences

    sqrt(m) r' = sqrt(n B) r + sqrt((m - n) (1 - B)) c,    B ~ Beta(n / 2, (m - n) / 2),    c the cosine of the new ones,

and r' depends on the looks before through r alone. Statistics are handled as normal scores: z with the same p as the t.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, special

SPENT_AS = 1.5  # alpha * share ** 1.5 is spent when that share of the seeds is there (Kim & DeMets 1987)
_EDGES = np.linspace(-6.5, 6.5, 301)  # of cells of normal scores; beyond lie 8e-11
_MIDDLES = (_EDGES[1:] + _EDGES[:-1]) / 2
_LEVELS = np.geomspace(1e-7, 1, 141)  # alphas whose boundaries are computed; others lie between
_NODES = 20  # of the quadrature over B


@dataclass(frozen=True)
class Looks:
    """Looks at a comparison so far, after so many pairs each, of at most `most`; the last one needs not be reached."""

    pairs: tuple[int, ...]  # two or more each, increasing
    most: int

    def __str__(self):
        return f"look {len(self.pairs)}"

    def p_two_sided(self, values):
        """Return the sequential p of a mean other than 0: the smallest alpha whose boundary one of the looks has crossed.

        It is at most alpha with a probability of at most alpha, however the looks decide when to stop (Liu & Anderson 2008).
        `values` are in the order of their seeds, `(seeds,)` or `(studies, seeds)`.
        """
        return self._p(np.abs(self._scores(values, 0.0)), 2)

    def p_above(self, values, bound):
        """Return the sequential one-sided p of a mean above a bound."""
        return self._p(self._scores(values, bound), 1)

    def interval(self, values, alpha) -> tuple[float, float]:
        """Return the repeated confidence interval of the last look: those of all looks hold together in 1 - alpha of studies.

        Source: Jennison & Turnbull 2000, chapter 9.
        """
        half = -special.stdtrit(len(values) - 1, self.nominal(alpha) / 2) * np.std(values, ddof=1) / len(values) ** 0.5
        return float(np.mean(values) - half), float(np.mean(values) + half)

    def nominal(self, alpha) -> float:
        """Return the two-sided p at which the last look by itself crosses its boundary of a level alpha."""
        return float(2 * special.ndtr(-np.interp(np.log(alpha), np.log(_LEVELS), self._boundaries(2)[:, -1])))

    def _boundaries(self, sides):
        shares = tuple(n / self.most for n in self.pairs)
        return _table(self.pairs, shares, sides)

    def _p(self, scores, sides):
        """Return the smallest level at which a score `(..., looks)` reaches the boundary of its look."""
        table = self._boundaries(sides)
        levels = [np.interp(-scores[..., k], -table[:, k], np.log(_LEVELS)) for k in range(len(self.pairs))]
        reached = [np.where(scores[..., k] >= table[-1, k], np.exp(level), 1.0) for k, level in enumerate(levels)]
        return np.min(reached, axis=0)[()]

    def _scores(self, values, bound):
        """Return the normal score of the t statistic at each look; 0, which claims nothing, where all values are alike."""
        values, scores = np.asarray(values, float), []
        for n in self.pairs:
            seen = values[..., :n]
            error = seen.std(axis=-1, ddof=1) / n**0.5
            t = np.divide(seen.mean(axis=-1) - bound, error, out=np.zeros_like(error), where=error > 1e-12)
            scores.append(-np.sign(t) * special.ndtri(special.stdtr(n - 1, -np.abs(t))))
        return np.stack(scores, axis=-1)


def boundaries(alpha, pairs, shares, sides=2, spent_as=SPENT_AS):
    """Return the boundary of each look as a normal score.

    A t statistic crosses it if its p is smaller than that of the score. With `sides` 1 only large statistics cross. By the look
    with a share s of the seeds, alpha * s ** spent_as is spent; `spent_as` may also be a function of s.
    """
    spent_by = spent_as if callable(spent_as) else lambda share: share**spent_as
    crossed, found, cells, before = 0.0, [], None, None
    for n, share in zip(pairs, shares, strict=True):
        below = special.ndtr(_EDGES) if cells is None else _transition(before, n) @ cells  # and no boundary crossed so far
        wanted, crossed = alpha * spent_by(share) - crossed, alpha * spent_by(share)
        found.append(_boundary(below, wanted, sides))
        lowest = -found[-1] if sides == 2 else -np.inf
        cells, before = np.diff(np.interp(np.clip(_EDGES, lowest, found[-1]), _EDGES, below)), n
    return np.array(found)


def _boundary(below, wanted, sides):
    """Return the score beyond which, on one side or both, the probability is as wanted; `below` is the distribution."""

    def excess(score):
        left = np.interp(-score, _EDGES, below) if sides == 2 else 0.0
        return below[-1] - np.interp(score, _EDGES, below) + left - wanted

    lowest = 0.0 if sides == 2 else _EDGES[0]
    if excess(lowest) <= 0:
        return lowest
    return optimize.brentq(excess, lowest, _EDGES[-1]) if excess(_EDGES[-1]) < 0 else _EDGES[-1]


@lru_cache(maxsize=64)
def _table(pairs, shares, sides):
    """Return the boundaries of all levels, `(levels, looks)`, from the highest to the lowest."""
    return np.array([boundaries(alpha, pairs, shares, sides) for alpha in _LEVELS])


@lru_cache(maxsize=64)
def _transition(n, m):
    """Return P(score of m values <= edge | score of n of them in the middle of a cell), `(edges, cells)`."""
    new = m - n
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    shares = special.betaincinv(n / 2, new / 2, (nodes + 1) / 2)
    now, then = _cosine(_MIDDLES, n), _cosine(_EDGES, m)[:, None]
    found = np.zeros((len(_EDGES), len(_MIDDLES)))
    for share, weight in zip(shares, weights / 2, strict=True):
        found += weight * _below((m**0.5 * then - (n * share) ** 0.5 * now) / (new * (1 - share)) ** 0.5, new)
    return found


def _cosine(scores, n):
    """Return the cosine between n values and (1, ..., 1) for the normal score of their t statistic."""
    t = -np.sign(scores) * special.stdtrit(n - 1, special.ndtr(-np.abs(scores)))
    return t / np.sqrt(n - 1 + t * t)


def _below(cosine, n):
    """Return the probability that the cosine of n normal values is at most this."""
    if n == 1:
        return np.where(cosine >= 1, 1.0, np.where(cosine >= -1, 0.5, 0.0))
    inside = np.clip(cosine, -1 + 1e-15, 1 - 1e-15)
    return special.stdtr(n - 1, ((n - 1) / (1 - inside * inside)) ** 0.5 * inside)
