"""Figures of studies: curves with bands, accuracy against what it costs."""

import numpy as np
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from figures.style import literal, look, over_epochs, plain, sheet
from reports.results import pareto_front


def draw_curves(histories, title):
    """Accuracy, loss and (where it is kept) macro F1 of val, below it of train, against epochs.

    Lines are means over the seeds that came so far, bands go from the lowest to the highest. `histories` is {arm: [history of
    a seed, ...]}.
    """
    curves = [("accuracy", "accuracy (%)", 100), ("loss", "cross-entropy", 1)]
    has_f1 = any("f1_macro" in history for seeds in histories.values() for history in seeds)
    curves += [("f1_macro", "macro F1 (%)", 100)] if has_f1 else []
    figure = sheet(5.5 * len(curves), 8.4, title)
    for row, prefix, split in zip(figure.subplots(2, len(curves)), ("val_", ""), ("val", "train (augmented)"), strict=True):
        for axes, (name, label, scale) in zip(row, curves, strict=True):
            _plot_arms(axes, histories, prefix + name, scale)
            axes.set_ylabel(f"{split} {label}")
        row[1].set_ylim(*_without_outliers(row[1]))
    handles, names = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _plot_arms(axes, histories, name, scale):
    for i, (arm, seeds) in enumerate(histories.items()):
        values = scale * _by_seed([history.get(name, ()) for history in seeds])
        if not values.size:
            continue
        epochs = np.arange(1, values.shape[1] + 1)
        low, mean, high = (over_seeds(0).filled(np.nan) for over_seeds in (values.min, values.mean, values.max))
        axes.plot(epochs, mean, label=literal(arm), **look(i))
        if len(values) > 1:
            axes.fill_between(epochs, low, high, color=look(i)["color"], alpha=0.15, linewidth=0)
    over_epochs(axes)


def _by_seed(curves):
    """Curves of unequal length as a masked array `(seeds, epochs)`; what a seed has no finite value for is masked."""
    values = np.full((len(curves), max(map(len, curves), default=0)), np.nan)
    for row, curve in zip(values, curves, strict=True):
        row[: len(curve)] = curve
    return np.ma.masked_invalid(values)


FRONT = {"color": "#999999", "linewidth": 1, "marker": "o", "markersize": 11, "markerfacecolor": "none", "zorder": 0}
# What accuracy is drawn against: the name of a number in metrics.json, and what it is called.
TRAINING_COSTS = {"params": "parameters", "macs": "multiply-accumulates per image", "seconds": "seconds of training"}
LATENCY = {"latency_ms": "ms for one image (torch, folded)"}


def draw_costs(results, title, costs_of=TRAINING_COSTS):
    """Test accuracy against each cost; a line joins those that no other beats in both (the Pareto front)."""
    figure = sheet(11, 4.2, title)
    for axes, (name, label) in zip(figure.subplots(1, len(costs_of), sharey=True), costs_of.items(), strict=True):
        front = sorted((result.mean(name), result.accuracy.mean) for result in pareto_front(results, name))
        axes.plot(*zip(*front, strict=True) if front else ((), ()), label="Pareto front", **FRONT)
        costs = [result.mean(name) for result in results if result.accuracies]
        for i, result in enumerate(results):
            estimate = result.accuracy
            if estimate is None:
                continue
            half = estimate.interval and [[estimate.mean - estimate.interval[0]], [estimate.interval[1] - estimate.mean]]
            point = look(i) | {"linestyle": "", "markersize": 6}
            axes.errorbar(result.mean(name), estimate.mean, half, capsize=3, label=literal(result.name), **point)
        axes.set(xlabel=label, xscale="log" if max(costs) > 10 * min(costs) else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(3) if axes.get_xscale() == "linear" else LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        plain(axes)
    low, high = figure.axes[0].get_ylim()
    figure.axes[0].set(ylabel="test accuracy (%)", ylim=(max(low, 0), min(high, 100)))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _without_outliers(axes):
    """Limits that a loss of thousands in a first epoch does not set."""
    values = np.concatenate([line.get_ydata() for line in axes.lines]) if axes.lines else np.ones(1)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if high > 4 * np.percentile(values, 75):
        high = float(np.percentile(values, 95))
    return max(low - 0.1 * (high - low), 0.0), max(high, low + 1e-3) * 1.05
