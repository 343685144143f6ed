"""Answers that are kept back: accuracy against the share of images answered (El-Yaniv & Wiener 2010)."""

from dataclasses import dataclass

import numpy as np

from foundation.probabilities import softmax
from lab.reports.statistics import bootstrap_interval, exact_interval

ERROR = 0.01  # that a threshold is chosen for
RESAMPLES = 500


@dataclass(frozen=True)
class Curve:
    """For every threshold of confidence, highest first: the share of images at or above it, and the accuracy of these."""

    thresholds: np.ndarray
    answered: np.ndarray
    accuracy: np.ndarray

    @property
    def area(self) -> float:
        """Mean error over the shares answered, which is less the better confidence tells right from wrong (AURC)."""
        widths = np.diff(self.answered, prepend=0.0)
        return float((widths * (1.0 - self.accuracy)).sum())

    def accuracy_at(self, share) -> float:
        """Return the accuracy where this share of the images, or a little more, is answered."""
        return float(self.accuracy[np.searchsorted(self.answered, share - 1e-12)])


def confidence_of(logits, temperature=1.0):
    """Return the largest probability of each image, `(N,)`."""
    return softmax(logits / temperature).max(1)


def curve_of(confidence, is_right) -> Curve:
    """Return the Curve of images by their confidence `(N,)`; images of equal confidence are answered together."""
    order = np.argsort(-confidence, kind="stable")
    ordered, right = confidence[order], np.cumsum(is_right[order])
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    return Curve(ordered[ends], (ends + 1) / len(ordered), right[ends] / (ends + 1))


def threshold_for(confidence, is_right, error=ERROR) -> float | None:
    """Return the confidence from which on most images are answered with at most this error; None if no share has so little."""
    curve = curve_of(confidence, is_right)
    enough = np.flatnonzero(1.0 - curve.accuracy <= error + 1e-12)
    return float(curve.thresholds[enough[-1]]) if len(enough) else None


def threshold_interval(confidence, is_right, error=ERROR) -> tuple[float, float]:
    """Return the 95 % interval of that threshold over images, by bootstrap; a sample without one counts as 1."""

    def threshold_of(places):
        threshold = threshold_for(confidence[places], is_right[places], error)
        return 1.0 if threshold is None else threshold

    return bootstrap_interval(threshold_of, len(confidence), "images for the threshold", RESAMPLES)


def answers_above(confidence, is_right, threshold):
    """Return what becomes of images under a threshold: shares answered and wrong among those, with exact 95 % intervals."""
    is_answered, images = confidence >= threshold, len(confidence)
    answered, wrong = int(is_answered.sum()), int((is_answered & ~is_right).sum())
    found = {"images": images, "answered": answered / images, "answered_interval": exact_interval(answered / images, images)}
    if answered:
        found |= {"error": wrong / answered, "error_interval": exact_interval(wrong / answered, answered)}
    return found
