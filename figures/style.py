"""The one style of every picture: colours that colour-blind eyes tell apart, lines that also differ in grey, light axes."""

from math import isfinite

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from errors import printable

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")  # Okabe & Ito 2008
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v")  # five, so that with four dashes twenty lines differ even in grey
TRAIN, VAL, NEUTRAL = COLOURS[0], COLOURS[1], "#555555"
matplotlib.rcdefaults()  # pictures look the same everywhere, whatever settings lie about; some would start LaTeX
HEAT = "cividis"  # of heat maps: from dark to light in colour and in grey (Nuñez et al. 2018)


def sheet(width, height, title=None):
    """A figure of so many inches, perhaps with a title; axes find their places themselves."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.09, h_pad=0.09)
    if title:
        figure.suptitle(literal(title), fontweight="bold")
    return figure


def literal(text):
    """Words of strangers, such as names of files, classes and runs: Matplotlib takes what stands between two $ for a formula,
    and draws no bytes that are not UTF-8."""
    return printable(text).replace("$", r"\$")


def look(i):
    """How the i-th of several things compared is drawn: colour, dashes and marker, so that one of them always tells."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": STYLES[i % len(STYLES)],
        "marker": MARKERS[i % len(MARKERS)],
        "markersize": 3.5,
        "linewidth": 1.8,
    }


def plain(*all_axes):
    """A light grid, and no frame where there is nothing to read."""
    for axes in all_axes:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)


def over_epochs(*all_axes):
    """Plain axes whose horizontal one counts epochs."""
    plain(*all_axes)
    for axes in all_axes:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def legend_below(figure, axes, columns=4):
    """The legend of one of a figure's axes, which serves all, below them: there it covers no data."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


EXPLODED = 10.0  # nats: what a network that knows nothing has with 22,000 classes


def log_where_exploded(axes):
    """A logarithmic vertical axis where a loss grew so large that a linear one would hide all others."""
    values = [float(value) for line in axes.lines for value in line.get_ydata() if isfinite(value)]
    if values and max(values) > EXPLODED and min(values) > 0:
        axes.set_yscale("log")
        axes.set_ylabel(f"{axes.get_ylabel()} (log)")
