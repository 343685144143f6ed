"""Measures of maps, and their comparison between right and wrong answers."""

from dataclasses import dataclass

import numpy as np

from lab.reports.statistics import Estimate, unpaired_difference

BORDER = 1 / 8  # width of the border, as a share of the image's side


def border_share(maps):
    """Return the share of each map's sum that lies at the border, `(N,)`. Maps are `(N, H, W)`, and none of them is zero."""
    ring = 1.0 - _inner(maps.shape[1])[:, None] * _inner(maps.shape[2])[None, :]
    return (maps * ring).sum((1, 2)) / maps.sum((1, 2))


def _inner(length):
    """Return the share of each row (or column) that does not belong to the border, from 0 to 1."""
    edges = np.clip(np.arange(length + 1) / length, BORDER, 1.0 - BORDER)
    return np.diff(edges) * length


def spread(maps):
    """Return the root mean square distance of a map's mass from its centre, in sides of the image, `(N,)`."""
    mass = maps / maps.sum((1, 2), keepdims=True)
    rows, columns = ((np.arange(length) + 0.5) / length for length in maps.shape[1:])
    y, x = mass.sum(2), mass.sum(1)
    variance = [(m * places**2).sum(1) - (m * places).sum(1) ** 2 for m, places in ((y, rows), (x, columns))]
    return np.sqrt(np.maximum(variance[0] + variance[1], 0.0))


MEASURES = {"share of the map at the border": border_share, "spread (sides of the image)": spread}


@dataclass(frozen=True)
class Comparison:
    """Comparison of one measure of maps between right and wrong answers; a value is None if there are no such answers."""

    name: str
    even: float  # value of a map that is the same everywhere
    right: Estimate | None
    wrong: Estimate | None
    difference: Estimate | None  # right minus wrong

    def sentence(self) -> str:
        """Return a sentence with the conclusion."""
        if self.difference is None or self.difference.interval is None:
            return f"{self.name}: too few answers of one kind, or all alike, to compare right and wrong ones."
        low, high = self.difference.interval
        interval = f"95 % interval {low:+.3f} to {high:+.3f}"
        if not self.difference.excludes_zero:
            return f"{self.name}: right and wrong answers can't be told apart ({self.difference.mean:+.3f}, {interval})."
        more = "larger" if self.difference.mean > 0 else "smaller"
        return f"{self.name}: {more} where the answer is right ({self.difference.mean:+.3f}, {interval})."


def compare(maps, is_right):
    """Return a Comparison for each of MEASURES. Maps of zeros are left out: they have neither border nor spread."""
    is_there = maps.max((1, 2)) > 0
    comparisons = []
    for name, measure in MEASURES.items():
        values = measure(maps[is_there])
        right, wrong = values[is_right[is_there]], values[~is_right[is_there]]
        estimates = [Estimate.of(kind, within=(0.0, 1.0)) if len(kind) else None for kind in (right, wrong)]
        even = float(measure(np.ones((1, *maps.shape[1:])))[0])
        comparisons.append(Comparison(name, even, *estimates, difference=unpaired_difference(right, wrong)))
    return comparisons
