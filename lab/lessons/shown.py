"""Content that a cell of a notebook shows: a figure with its numbers, or a table. Few colours keep pages small."""

import io
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator, NullLocator
from PIL import Image

from datasets.images import opened
from foundation.style import image_of, legend_below, literal, looks, plain, sheet
from lab.manual.markdown import table

DPI = 80
TINTS = 96  # colours of a picture: enough for lines with soft edges and for heat maps


@dataclass(frozen=True)
class Shown:
    """A figure that a notebook shows where a cell ends with it; `measured` are the numbers that it was drawn from."""

    figure: Any
    words: str  # for those who can't see the figure
    measured: Any = None

    def __repr__(self):
        return self.words

    def _repr_png_(self):
        return few_colours(image_of(self.figure, "png", dpi=DPI))


@dataclass(frozen=True)
class Table:
    """Rows of a table that a notebook shows; the first names the columns."""

    rows: list

    def __repr__(self):
        return "\n".join("  ".join(map(str, row)) for row in self.rows)

    def _repr_markdown_(self):
        return table(self.rows[0], self.rows[1:])


def few_colours(png) -> bytes:
    """Return the bytes of a PNG file with at most TINTS colours."""
    with opened(io.BytesIO(png)) as image:
        reduced = image.convert("RGB").quantize(TINTS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    file = io.BytesIO()
    reduced.save(file, "png", optimize=True)
    return file.getvalue()


def lines(series, title, across, up, reading=None, **axes_options) -> Shown:
    """Draw {name: values} or {name: (places, values)}, a line each; return a Shown whose `measured` is `series`.

    `across` and `up` are the words at the axes; `axes_options` go to matplotlib's `Axes.set`, such as `yscale="log"`. Values
    alone stand at 1, 2, 3, ...
    """
    pairs = {name: each if isinstance(each, tuple) else (range(1, len(each) + 1), each) for name, each in series.items()}
    figure = sheet(8, 4.2, title, reading)
    axes, look_of = figure.subplots(), looks(pairs)
    for name, (places, values) in pairs.items():
        look: dict[str, Any] = {**look_of[name], "markersize": 4}
        axes.plot(list(places), list(values), label=literal(name), **look)
    axes.set(xlabel=across, ylabel=up)
    if all(float(place).is_integer() for places, _ in pairs.values() for place in places):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(**axes_options)
    if "xticks" in axes_options:
        axes.xaxis.set_minor_locator(NullLocator())
    plain(axes)
    legend_below(figure, axes)
    return Shown(figure, f"{title}: {up} against {across}, of {', '.join(pairs)}", series)


def points(estimates, title, across, reading=None) -> Shown:
    """Draw {name: Estimate} as points with their 95 % intervals, one below the other; return a Shown."""
    figure = sheet(8, 1.4 + 0.4 * len(estimates), title, reading)
    axes = figure.subplots()
    for place, estimate in enumerate(estimates.values()):
        low, high = estimate.interval or (estimate.mean, estimate.mean)
        axes.errorbar(
            estimate.mean, place, xerr=[[estimate.mean - low], [high - estimate.mean]], fmt="o", color="black", capsize=4
        )
    axes.axvline(0, color="#555555", linewidth=1)
    axes.set_yticks(range(len(estimates)), [literal(name) for name in estimates])
    axes.set(ylim=(len(estimates) - 0.4, -0.6), xlabel=across)
    plain(axes)
    return Shown(figure, f"{title}: {across} of {', '.join(estimates)}", estimates)
