"""The numbers beside the pictures: every measure of `quality` and `analysis`, on a sample of val."""

from dataclasses import dataclass

import numpy as np

from foundation.sampling import evenly_spaced
from lab.explanations import quality
from lab.explanations.analysis import Comparison, compare
from lab.explanations.examples import target_labels
from lab.reports.statistics import Estimate, paired_difference

CURVE_IMAGES = 100  # at most of the sample, for deletion and insertion: each is looked at in STEPS states, twice

SHARES = (0.0, 1.0)  # what every measure lies within


@dataclass(frozen=True)
class Measure:
    """One measure of the trained network's maps and of those with random weights, each over images."""

    name: str
    trained: Estimate
    random: Estimate  # the same classes and images, maps of a network with random weights
    difference: Estimate | None  # trained minus random, image by image
    chance: float | None = None  # what a map of noise would get, where that is known

    @classmethod
    def of(cls, name, trained, random, chance=None):
        pair = [dict(enumerate(np.asarray(values, float))) for values in (trained, random)]
        return cls(
            name,
            *(Estimate.of(values, SHARES) for values in (trained, random)),
            difference=paired_difference(*pair),
            chance=chance,
        )


@dataclass(frozen=True)
class Measurement:
    """All that is known of a network's maps on a sample of val images."""

    images: int
    accuracy: float
    empty: int  # images without evidence for their class: maps of zeros
    measures: list[Measure]
    likeness: dict[str, Estimate]  # to the trained network's maps, once this part and those after it have random weights
    curves: dict[str, np.ndarray]  # mean probability of the class, by "deletion" or "insertion" and whose maps
    comparisons: list[Comparison]


def measure(network, towards, count) -> Measurement:
    """Return a Measurement of at most `count` images, evenly spaced over val. Raises UserError for an unknown class."""
    val = network.dataset.val
    split = val.select(evenly_spaced(len(val), count))
    probabilities = network.probabilities(split)
    targets = target_labels(towards, probabilities, split.labels, network.dataset.class_names)
    is_right = probabilities.argmax(1) == split.labels
    maps, likeness = network.maps(split, targets), {}
    for part, changed in quality.randomised(network):
        others = changed.maps(split, targets)
        likeness[part] = Estimate.of(quality.likeness(maps, others), within=(-1.0, 1.0))
    curves = _curves(network, split, targets, maps, others)
    return Measurement(
        images=len(split),
        accuracy=float(is_right.mean()),
        empty=int((maps.max((1, 2)) == 0).sum()),
        measures=[*_on_boxes(split, maps, others), *_areas(curves)],
        likeness=likeness,
        curves={name: curve.mean(0) for name, curve in curves.items()},
        comparisons=compare(maps, is_right),
    )


def _on_boxes(split, maps, others):
    """Yield the measures that need to know where objects are; none where nobody knows."""
    boxes = split.boxes(np.arange(len(split)))
    if boxes is None:
        return
    chance = float(quality.box_shares(boxes, maps.shape[1]).mean())
    for name, score in (("pointing game", quality.pointing_game), ("energy inside the box", quality.energy_inside)):
        yield Measure.of(name, score(maps, boxes), score(others, boxes), chance)


def _curves(network, split, targets, maps, others):
    """Return {what is done, by whose maps: probabilities `(n, STEPS)`} of at most CURVE_IMAGES images, evenly spaced."""
    chosen = evenly_spaced(len(split), CURVE_IMAGES)
    images, curves = split.read(chosen), {}
    for whose, heat in (("trained", maps), ("random", others)):
        pair = quality.deletion_and_insertion(network, images, targets[chosen], heat[chosen])
        curves |= {f"{what}, {whose}": curve for what, curve in zip(("deletion", "insertion"), pair, strict=True)}
    return curves


def _areas(curves):
    for name, what in (("deletion, area (low is good)", "deletion"), ("insertion, area (high is good)", "insertion")):
        yield Measure.of(name, *(quality.area(curves[f"{what}, {whose}"]) for whose in ("trained", "random")))
