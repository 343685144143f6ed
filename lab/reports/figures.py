"""Figures of studies: curves with bands, accuracy against what it costs."""

import numpy as np
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from foundation.style import NEUTRAL, legend_below, literal, log_where_exploded, looks, over_epochs, plain, sheet
from lab.reports.results import pareto_front

READING = (
    "A line is the mean over seeds, its band goes from the lowest to the highest: networks whose bands overlap may not "
    "differ. Where val (above) gets worse while train (below) gets better, a network learns its training images by heart."
)


def draw_curves(histories, title):
    """Draw accuracy, loss and (where it is kept) macro F1 of val, below it of train, against epochs.

    Lines are means over the seeds that came so far, bands go from the lowest to the highest. `histories` is {arm: [history of
    a seed, ...]}.
    """
    curves = [("accuracy", "accuracy (%)", 100), ("loss", "cross-entropy", 1)]
    has_f1 = any("f1_macro" in history for seeds in histories.values() for history in seeds)
    curves += [("f1_macro", "macro F1 (%)", 100)] if has_f1 else []
    figure = sheet(5.5 * len(curves), 8.4, title, READING)
    look_of = looks(histories)
    for row, prefix, split in zip(figure.subplots(2, len(curves)), ("val_", ""), ("val", "train (augmented)"), strict=True):
        for axes, (name, label, scale) in zip(row, curves, strict=True):
            _plot_arms(axes, histories, prefix + name, scale, look_of)
            axes.set_ylabel(f"{split} {label}")
        if not log_where_exploded(row[1]):
            row[1].set_ylim(*_without_outliers(row[1]))
    legend_below(figure, figure.axes[0])
    return figure


def _plot_arms(axes, histories, name, scale, look_of):
    for arm, seeds in histories.items():
        values = scale * _by_seed([history.get(name, ()) for history in seeds])
        if not values.size:
            continue
        epochs = np.arange(1, values.shape[1] + 1)
        low, mean, high = (over_seeds(0).filled(np.nan) for over_seeds in (values.min, values.mean, values.max))
        axes.plot(epochs, mean, label=literal(arm), **look_of[arm])
        if len(values) > 1:
            axes.fill_between(epochs, low, high, color=look_of[arm]["color"], alpha=0.15, linewidth=0)
    over_epochs(axes)


def _by_seed(curves):
    """Curves of unequal length as a masked array `(seeds, epochs)`; what a seed has no finite value for is masked."""
    values = np.full((len(curves), max(map(len, curves), default=0)), np.nan)
    for row, curve in zip(values, curves, strict=True):
        row[: len(curve)] = curve
    return np.ma.masked_invalid(values)


READING_OF_COSTS = (
    "Further up is more accurate, further left costs less: the grey line joins networks that no other beats in both. Bars are"
    " 95 % intervals over seeds."
)
READING_OF_DIFFERENCES = (
    "Right of zero the first of the two has the higher mean. Bold: the 95 % interval over paired seeds, of one comparison by "
    "itself; thin: of all together. A verdict takes three seeds and p after Holm; a point without interval has no test."
)
EQUAL = 0.05  # costs that differ by less are equal
EFFECT = {"color": "black", "marker": "o"}
FRONT = {"color": "#999999", "linewidth": 1, "marker": "o", "markersize": 11, "markerfacecolor": "none", "zorder": 0}
# What accuracy is drawn against: the name of a number in metrics.json, and what it is called.
TRAINING_COSTS = {"params": "parameters", "macs": "multiply-accumulates per image", "seconds": "seconds of training"}


def draw_costs(results, title, costs_of=TRAINING_COSTS):
    """Test accuracy against each cost; a line joins those that no other beats in both (the Pareto front)."""
    figure = sheet(max(3.7 * len(costs_of), 6), 4.2, title, READING_OF_COSTS)
    look_of = looks(result.name for result in results)
    all_axes = figure.subplots(1, len(costs_of), sharey=True, squeeze=False)[0]
    for axes, (name, label) in zip(all_axes, costs_of.items(), strict=True):
        front = sorted((result.mean(name), result.accuracy.mean) for result in pareto_front(results, name))
        axes.plot(*zip(*front, strict=True) if front else ((), ()), label="Pareto front", **FRONT)
        costs = [result.mean(name) for result in results if result.accuracies]
        for result in results:
            estimate = result.accuracy
            if estimate is None:
                continue
            half = estimate.interval and [[estimate.mean - estimate.interval[0]], [estimate.interval[1] - estimate.mean]]
            point = look_of[result.name] | {"linestyle": "", "markersize": 6}
            axes.errorbar(result.mean(name), estimate.mean, half, capsize=3, label=literal(result.name), **point)
        axes.set(xlabel=label, xscale="log" if max(costs) > 10 * min(costs) else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(3) if axes.get_xscale() == "linear" else LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        plain(axes)
    low, high = figure.axes[0].get_ylim()
    figure.axes[0].set(ylabel="test accuracy (%)", ylim=(max(low, 0), min(high, 100)))
    legend_below(figure, figure.axes[0])
    return figure


def differing(results, costs_of):
    """Return those of the costs that differ between results by more than EQUAL: against others, accuracy shows nothing."""
    costs = {name: [result.mean(name) for result in results if result.accuracies] for name in costs_of}
    if not any(costs.values()):
        return {}
    return {name: label for name, label in costs_of.items() if max(costs[name]) > (1 + EQUAL) * min(costs[name])}


def draw_differences(comparisons, title, names=()):
    """Differences in test accuracy of a study's comparisons, with their intervals (a forest plot).

    `names` are the arms in the order that gives each its colour on all figures; contrasts are black.
    """
    shown = [one for one in comparisons if one.values]
    figure = sheet(8, 1.4 + 0.45 * len(shown), title, READING_OF_DIFFERENCES)
    axes, look_of = figure.subplots(), looks(names)
    for place, one in enumerate(shown):
        d = one.difference
        look = look_of.get(one.name, EFFECT) | {"linestyle": "", "markersize": 7}
        for interval, width in ((one.simultaneous, 0.8), (d.interval, 2.4)):
            half = interval and [[d.mean - interval[0]], [interval[1] - d.mean]]
            axes.errorbar(d.mean, place, xerr=half, capsize=4, elinewidth=width, **look)
        axes.annotate(f"{d.mean:+.2f}", (d.mean, place), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    axes.axvline(0, color=NEUTRAL, linewidth=1)
    axes.set_yticks(range(len(shown)), [literal(one.label) for one in shown])
    axes.set(ylim=(len(shown) - 0.4, -0.7), xlabel="difference in test accuracy (points)")
    axes.margins(x=0.15)
    plain(axes)
    axes.grid(False, axis="y")
    return figure


def _without_outliers(axes):
    """Return axis limits that a loss of thousands in a first epoch does not set."""
    values = np.concatenate([line.get_ydata() for line in axes.lines]) if axes.lines else np.ones(1)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if high > 4 * np.percentile(values, 75):
        high = float(np.percentile(values, 95))
    return max(low - 0.1 * (high - low), 0.0), max(high, low + 1e-3) * 1.05
