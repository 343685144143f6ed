"""Style of all figures: colours that colour-blind readers can tell apart, lines that also differ in grey, light axes."""

import io
import re
import textwrap
from math import isfinite
from zlib import crc32

import matplotlib
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from foundation.errors import printable

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")  # Okabe & Ito 2008
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v")  # five, so that with four dashes twenty lines differ even in grey
TRAIN, VAL, NEUTRAL = COLOURS[0], COLOURS[1], "#555555"
matplotlib.rcdefaults()  # local settings of Matplotlib do not apply; some would start LaTeX
HEAT = "cividis"  # colour map of heat maps: from dark to light in colour and in grey (Nuñez et al. 2018)


LETTERS = 16.5  # of a reading, in an inch


def sheet(width, height, title=None, reading=None):
    """Return a figure of this size in inches, perhaps with a title; Matplotlib lays out the axes.

    `reading` is a sentence on how to read the figure. It stands under it, and the figure returned is the part above.
    """
    lines = textwrap.wrap(reading or "", int(LETTERS * (width - 0.3)))
    below = 0.17 * len(lines) + 0.12 if lines else 0.0
    figure = Figure(figsize=(width, height + below), layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09))
    if lines:
        (figure,), (foot,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(height, below))
        text = "\n".join(map(literal, lines))
        foot.text(0.15 / width, 0.98, text, va="top", fontsize=8, color=NEUTRAL, linespacing=1.3)
    if title:
        figure.suptitle(literal(title), fontweight="bold")
    return figure


def whole(figure):
    """Return the figure that a part belongs to, such as that of `sheet` with its reading."""
    return figure.get_figure(root=True)


def image_of(figure, kind, dpi=130) -> bytes:
    """Return a figure as bytes, of kind "png" or "svg"."""
    picture = io.BytesIO()
    whole(figure).savefig(picture, format=kind, dpi=dpi)
    return picture.getvalue()


def literal(text) -> str:
    """Return foreign text, such as names of files, classes and runs, in a form for Matplotlib.

    Matplotlib would take text between two $ for a formula, and can't draw bytes that are not UTF-8.
    """
    return printable(text).replace("$", r"\$")


def looks(names):
    """Return {name: look}: a network's colour follows from its name, so it is the same on every page and figure.

    If two names would have one colour, the one later in the alphabet has the next that is free.
    """
    names, found, places = list(names), {}, len(COLOURS)
    for name in sorted(names):
        place, rounds = crc32(name.encode(errors="surrogateescape")) % places, len(found) // places
        while place + rounds * places in found.values():
            place = (place + 1) % places
        found[name] = place + rounds * places
    return {name: look(found[name]) for name in names}


def look(i):
    """Return colour, dashes and marker of the i-th of several lines, so that any two lines differ in at least one of them."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": STYLES[i % len(STYLES)],
        "marker": MARKERS[i % len(MARKERS)],
        "markersize": 3.5,
        "linewidth": 1.8,
    }


def plain(*all_axes):
    """Give axes a light grid and no frame at the top and on the right."""
    for axes in all_axes:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)


def over_epochs(*all_axes):
    """Give axes the plain style and a horizontal axis that counts epochs."""
    plain(*all_axes)
    for axes in all_axes:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def legend_below(figure, axes, columns=4):
    """Put the legend of one of a figure's axes below all axes, where it covers no data."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        inches = 0.6 + 0.075 * max(map(len, names))  # of the longest entry
        columns = max(min(columns, int(figure.bbox.width / figure.dpi / inches)), 1)
        figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


EXPLODED = 10.0  # nats: the loss of a network that knows nothing with 22,000 classes


def log_where_exploded(axes):
    """Make the vertical axis logarithmic if a loss grew so large that a linear axis would hide all others; return whether so."""
    values = [float(value) for line in axes.lines for value in line.get_ydata() if isfinite(value)]
    if values and max(values) > EXPLODED and min(values) > 0:
        axes.set_yscale("log")
        axes.set_ylabel(f"{axes.get_ylabel()} (log)")
    return axes.get_yscale() == "log"


def literal_lines(text, width) -> str:
    """Return foreign text for Matplotlib, see `literal`, in lines of about `width` letters."""
    return "\n".join(map(literal, between_words(text, width).split("\n")))


def between_words(text, width) -> str:
    """Return a text in lines of about `width` letters, broken between words or after one of `/`, `_` and `-`."""
    lines = [""]
    for piece in re.findall(r"\s*[^\s/_-]*[/_-]*", text):
        if len(lines[-1]) + len(piece) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    return "\n".join(lines)
