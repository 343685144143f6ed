"""Figures of benchmarks."""

from benchmarks.throughput import LABELS, fastest
from figures.style import COLOURS, sheet

COLOUR_OF = {"ours": COLOURS[0], "training": COLOURS[2], "keras": COLOURS[4], "torch": COLOURS[7]}


def draw_throughput(measurements):
    """Draw images per second of each contestant, grouped by precision; whiskers are quartiles."""
    precisions = list(dict.fromkeys(m.precision for m in measurements))
    figure = sheet(2.2 + 2.6 * len(precisions), 4.2)
    axes = figure.subplots()
    names = [name for name in LABELS if any(m.name == name for m in measurements)]
    for offset, name in enumerate(names):
        shown = [fastest(measurements, name, precision) for precision in precisions]
        speeds = [m.images_per_second for m in shown]
        places = [i + 0.21 * (offset - (len(names) - 1) / 2) for i in range(len(shown))]
        below, above = zip(*(_whiskers(m) for m in shown), strict=True)
        axes.bar(
            places,
            speeds,
            0.2,
            yerr=(below, above),
            capsize=3,
            color=COLOUR_OF[name],
            edgecolor="black",
            linewidth=0.6,
            label=LABELS[name],
        )
        for place, speed in zip(places, speeds, strict=True):
            axes.text(place, 0.02 * max(speeds), f"{speed:,.0f}", ha="center", va="bottom", fontsize=8, rotation=90)
    first = measurements[0]
    axes.set_xticks(range(len(precisions)), precisions)
    axes.set(ylabel="images per second", title=f"{first.model}, batch {first.batch}, {first.backend}, {first.device}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.08), ncols=3, fontsize=8)
    return figure


def _whiskers(measurement):
    """Return the distances of a speed's lower and upper quartile from its median, in images per second."""
    low, high = (1e3 * measurement.batch / ms for ms in reversed(measurement.quartiles))
    return measurement.images_per_second - low, high - measurement.images_per_second
