"""Chance of the test images beside chance of the seeds: comparisons of a study, paired image by image (McNemar 1947)."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from lab.reports import cells
from lab.reports.comparisons import p_in_words
from lab.runs.predictions import correctness_of

READING = (
    "The same comparisons over images: in a seed, an image counts that one of the two names correctly and the other does not. "
    "McNemar's exact test asks whether the networks of a seed differ on other images of the same kind; of several seeds the "
    "lowest and the highest p are shown. The standard errors are those of the mean difference in points: over images, with these "
    "trained networks, and over seeds, on these images. No number of seeds makes the first one smaller. Verdicts go by seeds."
)


@dataclass(frozen=True)
class ImageComparison:
    """Two arms on the same test images. `only_first` and `only_other` count, by seed, images that only one of them has right."""

    name: str
    other: str
    images: int  # of a seed
    only_first: dict[int, int]
    only_other: dict[int, int]
    error: float  # standard error of the mean difference in points, for the sampling of images
    seed_error: float | None  # that for the choice of seeds; None with a single seed

    @property
    def p(self) -> dict[int, float]:
        """McNemar's exact p of each seed."""
        return {seed: mcnemar_p(count, self.only_other[seed]) for seed, count in self.only_first.items()}


def mcnemar_p(one, other) -> float:
    """Return the exact two-sided p of McNemar's test: of so many discordant images, half are expected on each side."""
    return float(stats.binomtest(one, one + other).pvalue) if one + other else 1.0


def compare_images(comparison, runs) -> ImageComparison | None:
    """Return the ImageComparison of a Comparison from {(arm, seed): Correctness}; None if no seed's two arms can be paired."""
    seeds = sorted(seed for arm, seed in runs if arm == comparison.name and _is_paired(runs, comparison, seed))
    if not seeds:
        return None
    pairs = {seed: (runs[comparison.name, seed], runs[comparison.other, seed]) for seed in seeds}
    gaps = {seed: first.is_right.astype(int) - other.is_right for seed, (first, other) in pairs.items()}
    by_images = {}  # seeds that share their test images
    for seed, (first, _) in pairs.items():
        by_images.setdefault(first.images, []).append(gaps[seed])
    parts = [(len(group) / len(seeds), np.mean(group, axis=0)) for group in by_images.values()]
    variance = sum(share**2 * gap.var(ddof=1) / len(gap) for share, gap in parts if len(gap) > 1)
    means = [gap.mean() for gap in gaps.values()]
    seed_error = 100 * float(np.std(means, ddof=1)) / len(means) ** 0.5 if len(means) > 1 else None
    counts = [{seed: int((gap == side).sum()) for seed, gap in gaps.items()} for side in (1, -1)]
    return ImageComparison(
        comparison.name, comparison.other, len(gaps[seeds[0]]), *counts, error=100 * float(variance) ** 0.5, seed_error=seed_error
    )


def _is_paired(runs, comparison, seed):
    first, other = (runs.get((arm, seed)) for arm in (comparison.name, comparison.other))
    return first is not None and other is not None and first.images == other.images


def image_comparisons(planned_runs, comparisons):
    """Return the ImageComparison of each comparison of two arms whose finished runs have predictions."""
    found = {(planned.arm, planned.seed): correctness_of(planned.run) for planned in planned_runs if planned.is_finished()}
    paired = (compare_images(comparison, found) for comparison in comparisons if comparison.other)
    return [each for each in paired if each]


def image_blocks(found):
    """Yield the table of ImageComparisons and how to read it, as blocks of `lab.reports.page`; nothing if there are none."""
    if not found:
        return
    head = ["comparison", "seeds", "images", "only the first right", "only the second right", "McNemar's p"]
    yield "heading", "Over images"
    yield "text", READING
    yield "table", [[*head, "standard error over images", "over seeds"], *map(_row, found)]


def _row(each):
    p = sorted(each.p.values())
    shown = list(dict.fromkeys((p_in_words(p[0]), p_in_words(p[-1]))))
    counts = [f"{np.mean(list(count.values())):,.1f}".removesuffix(".0") for count in (each.only_first, each.only_other)]
    errors = [f"{each.error:.2f}", cells.number(each.seed_error, ".2f")]
    return [f"{each.name} minus {each.other}", str(len(p)), f"{each.images:,}", *counts, " to ".join(shown), *errors]


def record_of(each):
    """Return an ImageComparison as a record of image_sampling.json."""
    return {
        "name": each.name,
        "versus": each.other,
        "images": each.images,
        "only_first": each.only_first,
        "only_other": each.only_other,
        "p": each.p,
        "error_over_images": each.error,
        "error_over_seeds": each.seed_error,
    }
