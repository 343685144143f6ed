"""Maps as pictures: laid over their images, on sheets, and what was measured of them as curves."""

import io

import matplotlib
import numpy as np
from PIL import Image

from foundation.style import COLOURS as LINES
from foundation.style import legend_below, literal_lines, plain, sheet
from lab.explanations.maps import enlarged
from lab.explanations.quality import STEPS

COLOURS = matplotlib.colormaps["inferno"]  # lightness rises evenly from black to yellow: ordered for every eye, and in grey
READING = "The brighter a place, the more evidence it gave for the class that the map is towards; what stays grey gave none."
READING_OF_MEASURES = (
    "Maps that explain: where pixels go in a map's order (left) the probability falls sooner than by maps of random weights, "
    "where they come (middle) it rises sooner, and little of the map is left once weights are random (right)."
)
SHOWN = 224  # pixels: smaller images are shown at the smallest multiple that has so many


def enlarged_image(image):
    """Return the image in whole multiples of its pixels, so that small ones can be looked at."""
    factor = -(-SHOWN // len(image))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def overlay(image, heat):
    """Return a map `(H, W)` in 0..1 over its image in grey, uint8 RGB: stronger evidence is brighter and more opaque."""
    image = enlarged_image(image)
    heat = enlarged(heat[None], len(image), is_symmetric=False)[0][:, :, None]
    grey = image @ np.array([0.299, 0.587, 0.114]) * 0.75
    opacity = 0.1 + 0.65 * heat
    return (grey[:, :, None] * (1 - opacity) + 255 * COLOURS(heat[:, :, 0])[:, :, :3] * opacity).astype("uint8")


def png(image) -> bytes:
    """Return a uint8 image as a PNG file's bytes."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def verdict(example, answer) -> list[str]:
    """Return the lines under a map: what was predicted, how sure, and what the true class got."""
    lines = [f"{answer.predicted} {100 * answer.probability:.0f}\N{NO-BREAK SPACE}%"]
    if example.true is not None and answer.predicted != example.true:
        lines.append(f"true class {100 * answer.true_probability:.0f}\N{NO-BREAK SPACE}%")
    if answer.towards != answer.predicted:
        lines.append(f"map towards {answer.towards}")
    return lines


def draw_sheet(title, rows, networks):
    """Examples, each as its image above its maps, in rows of (label, examples)."""
    columns = max(max(len(examples) for _, examples in rows), 2)
    height = 1 + len(networks)
    figure = sheet(1.2 + 2.2 * columns, 0.8 + (2.45 * height + 0.3) * len(rows), title, READING)
    axes = figure.subplots(height * len(rows), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for r, (label, examples) in enumerate(rows):
        for c, example in enumerate(examples):
            _show(axes[height * r, c], enlarged_image(example.image), example.name)
            for a, answer in enumerate(example.answers, start=1):
                name = [answer.network] if len(networks) > 1 else []
                _show(axes[height * r + a, c], overlay(example.image, answer.map), "\n".join(name + verdict(example, answer)))
        axes[height * r, 0].text(-0.12, 0.5, label, rotation=90, va="center", ha="right", transform=axes[height * r, 0].transAxes)
    return figure


def draw_overview(groups, count, networks):
    """A row of maps for each class and network: right answers, then wrong ones, in columns for the classes with most of them."""
    rights, wrongs = (max(2, *(len(getattr(group, side)) for group in groups)) for side in ("right", "wrong"))
    several = len(networks) > 1
    rows = [(group, i) for group in groups for i in range(len(networks))]
    reading = f"{READING} What is right is decided by {networks[0]}." if several else READING
    figure = sheet(1.6 + 0.7 * several + 1.25 * (rights + wrongs), 0.9 + 1.3 * len(rows), reading=reading)
    axes = figure.subplots(len(rows), rights + wrongs, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for row, (group, i) in zip(axes, rows, strict=True):
        for ax, example in [*zip(row, group.right, strict=False), *zip(row[rights:], group.wrong, strict=False)]:
            ax.imshow(overlay(example.image, example.answers[i].map))
        label = literal_lines(group.name, 12) + (f"\n({literal_lines(networks[i], 16)})" if several else "")
        row[0].text(-0.1, 0.5, label, va="center", ha="right", fontsize=9, transform=row[0].transAxes)
    axes[0, 0].set_title(f"right answers (up to {count})", loc="left", fontsize=10)
    axes[0, rights].set_title(f"wrong answers (up to {count})", loc="left", fontsize=10)
    return figure


def _show(ax, image, text):
    ax.imshow(image)
    ax.set_title("\n".join(literal_lines(line, 32) for line in text.split("\n")), fontsize=8)


def draw_measurement(found, title):
    """Deletion, insertion, and how little is left of the maps as ever more weights are random."""
    figure = sheet(11, 4.0, title, READING_OF_MEASURES)
    left, middle, right = figure.subplots(1, 3)
    shares = 100 * np.linspace(0.0, 1.0, STEPS)
    for axes, what in ((left, "deletion"), (middle, "insertion")):
        for i, (whose, style) in enumerate((("trained", "-"), ("random", "--"))):
            axes.plot(shares, found.curves[f"{what}, {whose}"], style, color=LINES[i], label=f"by maps of {whose} weights")
        axes.set(xlabel=f"pixels {'removed' if what == 'deletion' else 'shown'} (%)", ylabel="probability of the class")
        axes.set(title=what, ylim=(0, 1))
    legend_below(figure, left)
    means = np.array([e.mean for e in found.likeness.values()])
    ends = np.array([e.interval or (e.mean, e.mean) for e in found.likeness.values()])
    halves = np.abs(ends - means[:, None]).T
    right.errorbar(range(len(means)), means, halves, fmt="o-", color=LINES[0], capsize=3)
    right.set_xticks(range(len(means)), [f"{part} on" for part in found.likeness], rotation=30, ha="right", fontsize=8)
    right.axhline(0, color="black", linewidth=0.8)
    right.set(title="weights random from", ylabel="rank correlation with the map", ylim=(-0.5, 1))
    for axes in (left, middle, right):
        plain(axes)
    return figure
