"""Calibration: whether a network that is 80 % sure is right four times out of five."""

from dataclasses import dataclass

import numpy as np

from foundation.probabilities import softmax
from foundation.style import COLOURS, NEUTRAL, legend_below, literal, plain, sheet

READING = (
    "Bars that end below the diagonal: the network is right less often than it says (overconfident); above it, more often. "
    "ECE is the mean distance from the diagonal, weighted by the images of each bar."
)
BINS = 15  # as in the paper


@dataclass(frozen=True)
class Calibration:
    """Images `(bins,)` by their confidence, with the accuracy and mean confidence of each bin (0 where it is empty)."""

    counts: np.ndarray
    accuracies: np.ndarray
    confidences: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: the mean of |accuracy - confidence| over bins, weighted by images (eq. 3)."""
        return float((self.counts * np.abs(self.accuracies - self.confidences)).sum() / self.counts.sum())

    def in_words(self) -> str:
        return f"ECE {100 * self.error:.2f} %"


def calibrate(logits, labels, bins=BINS) -> Calibration:
    """Return the Calibration of logits `(N, classes)` against labels `(N,)`: Guo et al. 2017, section 2.

    Confidence is the largest softmax probability. Bins have equal width: bin m (from 1) is ((m - 1) / bins, m / bins].
    """
    confidence = softmax(logits).max(1)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    right, sure = (np.bincount(place, values, bins) for values in (logits.argmax(1) == labels, confidence))
    return Calibration(counts, right / np.maximum(counts, 1), sure / np.maximum(counts, 1))


def draw_calibration(runs, options):
    """Draw reliability diagrams beside each other (Guo et al. 2017, figure 1), over how often each confidence occurs."""
    figure = sheet(1.0 + 4.2 * len(runs), 5.6, f"Calibration on {options.split}", READING)
    columns = figure.subplots(2, len(runs), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1)).T
    for run, (reliability, histogram) in zip(runs, columns, strict=True):
        calibration = calibrate(run.logits(options.split), run.labels(options.split))
        plot_reliability(reliability, calibration)
        reliability.set_title(f"{literal(run.name)}\n{calibration.in_words()}")
        _plot_counts(histogram, calibration)
    columns[0][0].set_ylabel("accuracy")
    columns[0][1].set_ylabel("share of images")
    legend_below(figure, columns[0][0])
    return figure


def plot_reliability(axes, calibration):
    """Accuracy of every bin as a bar, what is missing to its confidence (or too much) hatched."""
    bins = len(calibration.counts)
    middles, is_filled = (np.arange(bins) + 0.5) / bins, calibration.counts > 0
    axes.bar(
        middles[is_filled],
        calibration.accuracies[is_filled],
        1 / bins,
        color=COLOURS[5],
        edgecolor="white",
        linewidth=0.6,
        label="accuracy",
    )
    axes.bar(
        middles[is_filled],
        (calibration.confidences - calibration.accuracies)[is_filled],
        1 / bins,
        calibration.accuracies[is_filled],
        color="none",
        edgecolor=COLOURS[1],
        hatch="////",
        linewidth=0.8,
        label="gap to the confidence",
    )
    axes.plot([0, 1], [0, 1], "--", color=NEUTRAL, linewidth=1.2, label="perfectly calibrated")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    plain(axes)


def _plot_counts(axes, calibration):
    bins = len(calibration.counts)
    middles, shares = (np.arange(bins) + 0.5) / bins, calibration.counts / calibration.counts.sum()
    axes.bar(middles, shares, 1 / bins, color="#999999", edgecolor="white", linewidth=0.6)
    axes.set_xlabel("confidence")
    plain(axes)
