"""Figures of studies: curves with bands, accuracy against what it costs."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from reports.results import pareto_front

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")  # Okabe & Ito 2008
STYLES = ("-", "--", "-.", ":")


def draw_curves(histories, title):
    """Val accuracy and val loss against epochs, one colour for each arm; bands from the lowest to the highest seed.

    `histories` is {arm: [history of a seed, ...]}.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, name, label, scale in (
        (left, "val_accuracy", "val accuracy (%)", 100),
        (right, "val_loss", "val cross-entropy", 1),
    ):
        for i, (arm, seeds) in enumerate(histories.items()):
            length = min((len(history.get(name, ())) for history in seeds), default=0)
            if not length:
                continue
            values = scale * np.array([history[name][:length] for history in seeds])
            epochs = np.arange(1, length + 1)
            colour, style = COLOURS[i % len(COLOURS)], STYLES[i // 2 % len(STYLES)]
            axes.plot(epochs, values.mean(0), style, color=colour, label=arm, linewidth=1.8)
            if len(values) > 1:
                axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _plain(axes)
    right.set_ylim(*_without_outliers(right))
    if left.lines:
        left.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontweight="bold")
    return figure


FRONT = {"color": "#999999", "linewidth": 1, "marker": "o", "markersize": 11, "markerfacecolor": "none", "zorder": 0}
# What accuracy is drawn against: the name of a number in metrics.json, and what it is called.
TRAINING_COSTS = {"params": "parameters", "macs": "multiply-accumulates per image", "seconds": "seconds of training"}


def draw_costs(results, title, costs_of=TRAINING_COSTS):
    """Test accuracy against each cost; a line joins those that no other beats in both (the Pareto front)."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, (name, label) in zip(figure.subplots(1, len(costs_of), sharey=True), costs_of.items(), strict=True):
        front = sorted((result.mean(name), result.accuracy.mean) for result in pareto_front(results, name))
        axes.plot(*zip(*front, strict=True) if front else ((), ()), label="Pareto front", **FRONT)
        costs = [result.mean(name) for result in results if result.accuracies]
        for i, result in enumerate(results):
            estimate = result.accuracy
            if estimate is None:
                continue
            half = estimate.interval and estimate.interval[1] - estimate.mean
            colour = COLOURS[i % len(COLOURS)]
            axes.errorbar(result.mean(name), estimate.mean, half, fmt="o", color=colour, capsize=3, label=result.name)
        axes.set(xlabel=label, xscale="log" if max(costs) > 10 * min(costs) else "linear")
        axes.xaxis.set_major_formatter(EngFormatter())
        if axes.get_xscale() == "linear":
            axes.xaxis.set_major_locator(MaxNLocator(5))
        _plain(axes)
    figure.axes[0].set_ylabel("test accuracy (%)")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(title, fontweight="bold")
    return figure


def _plain(axes):
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _without_outliers(axes):
    """Limits that a loss of thousands in a first epoch does not set."""
    values = np.concatenate([line.get_ydata() for line in axes.lines]) if axes.lines else np.ones(1)
    values = values[np.isfinite(values)]
    low, high = (float(np.min(values)), float(np.percentile(values, 95))) if len(values) else (0.0, 1.0)
    return max(low - 0.1 * (high - low), 0.0), max(high, low + 1e-3) * 1.05
