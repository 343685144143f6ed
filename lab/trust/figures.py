"""Figures of the page on what a run's answers are worth."""

import numpy as np

from foundation.style import COLOURS, NEUTRAL, TRAIN, VAL, legend_below, literal_lines, plain, sheet
from lab.reports.calibration import READING, calibrate, plot_reliability
from lab.trust.corruptions import CORRUPTIONS, STRENGTHS, corrupt

READING_OF_CURVE = (
    "From right to left fewer images are answered: those of which the network is surest. A curve that rises to the left means "
    "that it is less sure where it is wrong."
)


def draw_calibration(logits, labels, temperature):
    """Reliability diagrams of test before and after temperature scaling."""
    figure = sheet(9.4, 4.4, "Calibration on test", READING)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, scaled, words in ((axes[0], logits, "before"), (axes[1], logits / temperature, f"after, T = {temperature:.2f}")):
        found = calibrate(scaled, labels)
        plot_reliability(ax, found)
        ax.set_title(f"{words}: {found.in_words()}")
        ax.set_xlabel("confidence")
    axes[0].set_ylabel("accuracy")
    legend_below(figure, axes[0])
    return figure


def draw_answered(curves, threshold):
    """Accuracy against the share of images answered; `curves` are {"val": Curve, "test": Curve}."""
    figure = sheet(7.6, 4.2, "Accuracy of what is answered", READING_OF_CURVE)
    axes = figure.subplots()
    for split, colour, style in (("val", VAL, "--"), ("test", TRAIN, "-")):
        curve = curves[split]
        axes.plot(100 * curve.answered, 100 * curve.accuracy, style, color=colour, linewidth=1.8, label=split)
        if threshold is not None and (is_answered := curve.thresholds >= threshold).any():
            place = np.flatnonzero(is_answered)[-1]
            label = f"threshold {threshold:.3f}, chosen on val" if split == "test" else None
            axes.plot(100 * curve.answered[place], 100 * curve.accuracy[place], "o", color=COLOURS[2], markersize=8, label=label)
    lowest = min(100 * curve.accuracy[curve.answered > 0.05].min() for curve in curves.values())
    axes.set(xlabel="share of images answered (%)", ylabel="accuracy (%)", xlim=(0, 101))
    axes.set_ylim(lowest - 0.1 * (100.5 - lowest) - 0.1, 100.5)
    axes.axhline(99, color=NEUTRAL, linewidth=0.8, linestyle=":", label="1 % error")
    plain(axes)
    legend_below(figure, axes)
    return figure


def draw_corruptions(image, name):
    """An image `(H, W, C)` uint8 under each corruption at each strength, which are measured on test."""
    figure = sheet(13.6, 3.9, f"Corruptions of an image of {name}, at strengths {', '.join(map(str, STRENGTHS))} of 5")
    grid = figure.subplots(len(STRENGTHS), len(CORRUPTIONS) + 1, squeeze=False)
    for row, strength in zip(grid, STRENGTHS, strict=True):
        shown = [image, *(corrupt(image[None], kind, strength)[0] for kind in CORRUPTIONS)]
        for axes, pixels in zip(row, shown, strict=True):
            axes.imshow(pixels.repeat(3, 2) if pixels.shape[2] == 1 else pixels, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
        row[0].set_ylabel(f"strength {strength}", fontsize=9)
    for axes, kind in zip(grid[0], ["clean", *CORRUPTIONS], strict=True):
        axes.set_title(literal_lines(kind, 9), fontsize=9)
    return figure
