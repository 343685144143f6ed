"""The loss around trained weights, along two random directions (Li et al. 2018, section 4)."""

import math
from dataclasses import dataclass

import numpy as np
from keras import ops
from matplotlib.ticker import FuncFormatter, LogLocator

from foundation.randomness import generator
from foundation.style import HEAT, literal, sheet
from lab.training.evaluation import cross_entropy, predict

READING = (
    "The star is where training ended. Wide, smooth contours around it: the weights may move without harm, and a step leads "
    "down from afar; narrow or ragged ones: a small move undoes what was learned."
)
LEVELS = 16


@dataclass(frozen=True)
class Landscape:
    """Losses `(points, points)` at the weights plus `steps[column]` times one direction and `steps[row]` times the other."""

    steps: np.ndarray
    losses: np.ndarray

    @property
    def at_the_weights(self) -> float:
        middle = len(self.steps) // 2
        return float(self.losses[middle, middle])


def filter_normalized_direction(weights, seed, number):
    """A random direction for weights {path: array}, every filter of which is as long as the weights' own (Li et al. 2018, eq. 1).

    A filter is what makes one output: the last axis counts them, in convolutions and dense layers. Vectors, such as a norm's
    gamma and beta, stay where they are, as in the paper's experiments. A function of seed, number and path.
    """
    direction = {}
    for path, value in weights.items():
        if value.ndim < 2:
            direction[path] = np.zeros_like(value)
            continue
        draw = generator(seed, f"landscape {path}", number).standard_normal(value.shape)
        inner = tuple(range(value.ndim - 1))
        length, drawn = (np.sqrt(np.square(array.astype("float64")).sum(inner)) for array in (value, draw))
        direction[path] = (draw * (length / np.maximum(drawn, 1e-12))).astype(value.dtype)
    return direction


def measure_landscape(model, batches, labels, points, reach, seed) -> Landscape:
    """The Landscape from -reach to reach on a grid with so many points (odd) a side; the weights are given back afterwards.

    The network runs as at inference: batch norm keeps the statistics of the trained weights.
    """
    variables = {variable.path: variable for variable in model.trainable_variables}
    weights = {path: ops.convert_to_numpy(variable).copy() for path, variable in variables.items()}
    across, up = (filter_normalized_direction(weights, seed, number) for number in (0, 1))
    steps, moved = np.linspace(-reach, reach, points), [path for path, value in weights.items() if value.ndim > 1]
    losses = np.zeros((points, points))
    try:
        for row, b in enumerate(steps):
            for column, a in enumerate(steps):
                for path in moved:
                    variables[path].assign((weights[path] + a * across[path] + b * up[path]).astype("float32"))
                losses[row, column] = cross_entropy(predict(model, batches), labels).mean()
    finally:
        for path in moved:
            variables[path].assign(weights[path])
    return Landscape(steps, losses)


def draw_landscapes(runs, options):
    """Contours of the loss, run beside run with the same levels."""
    return draw_measured(measure(runs, options), runs, options)


def measure(runs, options):
    """{run's name: its Landscape}."""
    found = {}
    for run in runs:
        batches, labels = run.sample(options)
        found[run.name] = measure_landscape(run.model, batches, labels, options.grid, options.reach, options.seed)
    return found


def draw_measured(found, runs, options):
    """The figure of {run's name: its Landscape}."""
    images = len(runs[0].sample(options)[1])
    how = f"{images:,} {options.split} images, two random filter-normalised directions, batch norm at its trained statistics"
    figure = sheet(1.6 + 4.2 * len(runs), 5.0, "Loss around the trained weights", f"{READING} {how[0].upper()}{how[1:]}.")
    levels = common_levels(list(found.values()), runs[0].dataset.classes)
    all_axes = figure.subplots(1, len(runs), squeeze=False, sharey=True)[0]
    for axes, (name, landscape) in zip(all_axes, found.items(), strict=True):
        filled = plot_landscape(axes, landscape, levels)
        axes.set(title=literal(name), xlabel="along the first direction")
    all_axes[0].set_ylabel("along the second")
    bar = figure.colorbar(filled, ax=all_axes, label="cross-entropy")
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.minorticks_off()
    return figure


def common_levels(landscapes, classes):
    """Contour levels for several landscapes: evenly spaced in the logarithm, to at most four times the loss of guessing."""
    losses = np.concatenate([landscape.losses.ravel() for landscape in landscapes])
    losses = losses[np.isfinite(losses)]
    low, high = max(float(losses.min()), 1e-4), min(float(losses.max()), 4 * math.log(classes))
    return np.geomspace(low, max(high, low * 1.01), LEVELS)


def plot_landscape(axes, landscape, levels):
    """Filled contours with lines between them; a star where the weights are."""
    losses = np.clip(np.nan_to_num(landscape.losses, nan=np.inf), levels[0], 2 * levels[-1])
    grid = (landscape.steps, landscape.steps, losses)
    filled = axes.contourf(*grid, levels=levels, cmap=HEAT, norm="log", extend="max")
    axes.contour(*grid, levels=levels, colors="white", linewidths=0.5, alpha=0.7)
    axes.plot(0, 0, "*", color="white", markersize=13, markeredgecolor="black")
    axes.annotate(
        f"{landscape.at_the_weights:.3g}",
        (0, 0),
        (8, 8),
        textcoords="offset points",
        fontsize=9,
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
    )
    axes.set_aspect("equal")
    axes.locator_params(nbins=4)
    return filled
