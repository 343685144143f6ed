"""Figures of benchmarks."""

import numpy as np

from foundation.style import COLOURS, literal, plain, sheet
from lab.benchmarks.throughput import LABELS, MODES

COLOUR_OF = {
    ("ours", "auto"): COLOURS[0],
    ("training", "auto"): COLOURS[2],
    ("torch", "compile+graph"): COLOURS[7],
    ("torch", "graph"): COLOURS[5],
    ("torch", "compile"): "white",
    ("torch", "eager"): COLOURS[3],
    ("keras", "auto"): COLOURS[4],
}
HATCHES = ("", "//", "..")  # of the backends


def draw_throughput(measurements):
    """Draw images per second of each contestant, grouped by batch and precision; whiskers are quartiles."""
    groups = list(dict.fromkeys((m.batch, m.precision) for m in measurements))
    backends = list(dict.fromkeys(m.backend for m in measurements))
    keys = [(*key, backend) for key in COLOUR_OF for backend in backends]
    contestants = [key for key in keys if any((m.name, m.mode, m.backend) == key for m in measurements)]
    width = 0.85 / len(contestants)
    first = measurements[0]
    figure = sheet(max(2 + 0.42 * len(groups) * len(contestants), 7), 4.4, f"{first.model} on {first.device}: higher is faster")
    axes = figure.subplots()
    plain(axes)
    axes.grid(visible=False, axis="x")
    axes.set_axisbelow(True)
    for i, key in enumerate(contestants):
        shown = [(groups.index((m.batch, m.precision)), m) for m in measurements if (m.name, m.mode, m.backend) == key]
        places = [group + width * (i - (len(contestants) - 1) / 2) for group, _ in shown]
        speeds = [m.images_per_second for _, m in shown]
        whiskers = list(zip(*(_whiskers(m) for _, m in shown), strict=True))
        style = {
            "color": COLOUR_OF[key[:2]],
            "hatch": HATCHES[backends.index(key[2])],
            "edgecolor": "black",
            "linewidth": 0.6,
            "capsize": 2,
        }
        bars = axes.bar(places, speeds, width, yerr=whiskers, label=literal(_label(*key)), **style)
        axes.bar_label(bars, [f"{speed:,.0f}" for speed in speeds], rotation=90, padding=4, fontsize=8)
    axes.margins(y=0.18)  # room for the numbers on the bars
    axes.set_xticks(range(len(groups)), [f"batch {batch:,}\n{precision}" for batch, precision in groups])
    axes.set_ylabel("images per second")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def draw_growth(sweeps):
    """Draw each Sweep's costs `[(size, costs)]` by size, both axes logarithmic; dashed: growth as it should be."""
    columns = min(len(sweeps), 2)
    rows = -(-len(sweeps) // columns)
    figure = sheet(4.4 * columns, 3.2 * rows, "How cost grows (dashed: as it should)")
    for axes, (sweep, points) in zip(figure.subplots(rows, columns, squeeze=False).flat, sweeps.items(), strict=False):
        plain(axes)
        sizes = np.array([size for size, _ in points], float)
        low, middle, high = np.percentile([costs for _, costs in points], (25, 50, 75), axis=1)
        axes.errorbar(sizes, middle, (middle - low, high - middle), marker="o", color=COLOURS[0], capsize=2)
        axes.plot(sizes, middle[-1] * (sizes / sizes[-1]) ** sweep.ideal, "--", color=COLOURS[3])
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
        if sweep.is_memory:
            axes.set_ylim(0, 1.2 * high.max())
        else:
            axes.set_yscale("log")
            axes.set_yticks(middle, [f"{cost:.2g}" for cost in middle])
        axes.minorticks_off()
        axes.set_xlabel(sweep.size)
        axes.set_ylabel(sweep.cost)
    return figure


def draw_families(rows):
    """Draw the speed of Reslab relative to each rival, `{model: {rival: (median, lower, upper quartile)}}`; 1 is as fast."""
    rivals = list(dict.fromkeys(rival for row in rows.values() for rival in row))
    height = 0.8 / len(rivals)
    figure = sheet(7.5, 1.2 + 0.22 * len(rows) * len(rivals), "Speed of Reslab in training steps, times that of others")
    axes = figure.subplots()
    plain(axes)
    for i, rival in enumerate(rivals):
        places = [place + height * (i - (len(rivals) - 1) / 2) for place, row in enumerate(rows.values()) if rival in row]
        low, middle, high = (np.array([row[rival][at] for row in rows.values() if rival in row]) for at in (1, 0, 2))
        whiskers = {"xerr": (middle - low, high - middle), "capsize": 2}
        bars = axes.barh(places, middle, height, label=literal(rival), color=COLOURS[i % len(COLOURS)], **whiskers)
        axes.bar_label(bars, [f"{ratio:.2f}" for ratio in middle], padding=8, fontsize=7)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("times as fast; right of the line Reslab is faster")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _label(name, mode, backend):
    return f"{LABELS[name]}, {MODES[mode]}" if mode in MODES else f"{LABELS[name]}, {backend}"


def _whiskers(measurement):
    """Return the distances of a speed's lower and upper quartile from its median, in images per second."""
    low, high = (1e3 * measurement.batch / ms for ms in reversed(measurement.quartiles))
    return measurement.images_per_second - low, high - measurement.images_per_second
