"""Runs over their epochs: curves compared, the gap between two, learning rates and throughput."""

from matplotlib.ticker import EngFormatter

from foundation.style import NEUTRAL, TRAIN, VAL, legend_below, literal, looks, over_epochs, sheet
from lab.reports.figures import draw_curves
from lab.reports.results import repetitions


def compare_runs(runs, options):
    """Draw accuracy and loss of val and train; runs that differ only by their seed are one line with a band."""
    histories = {label: [run.history for run in group] for label, group in repetitions(runs).items()}
    return draw_curves(histories, "Training curves")


def gap(history, other, split):
    """Return the accuracy of one run less that of the other, in points, for every epoch that both have."""
    name = "val_accuracy" if split == "val" else "accuracy"
    return [100 * (ours - theirs) for ours, theirs in zip(history[name], other[name], strict=False)]


def draw_gap(runs, options):
    """Draw the gap in accuracy between two runs over epochs, and at the epoch of each that val chose."""
    ours, theirs = runs
    reading = f"Above zero {ours.name} is the more accurate of the two. A gap on train alone is one in learning by heart."
    figure = sheet(8, 4.4, f"Accuracy of {ours.name} minus that of {theirs.name}", reading)
    axes = figure.subplots()
    for split, shown, colour, line in (("train", "train (augmented)", TRAIN, "--"), ("val", "val", VAL, "-")):
        values = gap(ours.history, theirs.history, split)
        epochs = range(1, len(values) + 1)
        axes.plot(epochs, values, line, color=colour, marker="o", markersize=3.5, linewidth=1.8, label=shown)
    axes.fill_between(epochs, values, color=VAL, alpha=0.12, linewidth=0)
    axes.axhline(0, color=NEUTRAL, linewidth=1)
    best = 100 * (ours.metrics["val"]["accuracy"] - theirs.metrics["val"]["accuracy"])
    axes.axhline(best, color=VAL, linewidth=0.8, linestyle=":", label=f"val, best epoch of each: {best:+.2f}")
    axes.set_ylabel("points of accuracy")
    over_epochs(axes)
    legend_below(figure, axes)
    return figure


READING_OF_RATES = (
    "Loss falls fastest where the rate has just come down. Throughput should be level: dips are other work on the machine, a "
    "slope is images that grow."
)


def draw_rates(runs, options):
    """Draw learning rate at the end of every epoch, and images per second of its training steps."""
    figure = sheet(11, 4.4, "Learning rate and throughput", READING_OF_RATES)
    rate, speed = figure.subplots(1, 2)
    look_of = looks(run.name for run in runs)
    for run in runs:
        rate.plot(run.history["epoch"], run.history["learning_rate"], label=literal(run.name), **look_of[run.name])
        plot_speed(speed, run, **look_of[run.name])
    rate.set(title="Learning rate", ylabel="at the end of the epoch")
    speed.set(title="Throughput")
    for axes in (rate, speed):
        axes.set_ylim(bottom=0)  # once all runs are drawn: it holds the upper limit too
    over_epochs(rate, speed)
    legend_below(figure, rate)
    return figure


def plot_speed(axes, run, **style):
    """Images per second of every epoch; where they were not recorded, their mean over the run."""
    if run.speed:
        axes.plot(run.speed["epoch"], run.speed["images_per_second"], **style)
    else:
        ends = run.history["epoch"][0], run.history["epoch"][-1]
        axes.plot(ends, [run.metrics["images_per_second"]] * 2, **style | {"marker": None})
    axes.set_ylabel("images per second in training")
    axes.yaxis.set_major_formatter(EngFormatter())
