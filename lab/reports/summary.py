"""A run on one sheet: settings and results, curves, rates, confusion, calibration."""

from dataclasses import asdict

from callbacks.monitor import READING, labels_of_train, plot_accuracies, plot_losses
from foundation.grammar import duration
from foundation.style import NEUTRAL, literal, over_epochs, sheet
from lab.reports.calibration import READING as calibration_reading
from lab.reports.calibration import calibrate, plot_reliability
from lab.reports.curves import plot_speed
from lab.training.chosen import choices_of
from lab.training.evaluation import confusion_matrix
from lab.training.figures import READING as confusion_reading
from lab.training.figures import plot_confusion
from lab.training.metrics_table import interval_in_words


def draw_summary(runs, options):
    """Draw the sheet of one run; test is only reported, nothing on it was chosen by test."""
    (run,) = runs
    reading = f"{READING} Confusion: {confusion_reading} Calibration: {calibration_reading}"
    figure = sheet(16, 9, run.name, reading)
    grid = figure.add_gridspec(2, 3)
    losses, accuracies = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    plot_losses(losses, run.history, labels_of_train(run.config))
    plot_accuracies(accuracies, run.history, run.metrics["best_epoch"] - 1)
    _plot_rates(figure, grid[0, 2].subgridspec(2, 1), run)
    matrix = figure.add_subplot(grid[1, 0])
    logits, labels = run.logits(options.split), run.labels(options.split)
    plot_confusion(matrix, confusion_matrix(logits, labels), run.dataset.class_names)
    matrix.tick_params(labelsize=7)
    matrix.set_title(f"Confusion, {options.split}")
    reliability = figure.add_subplot(grid[1, 1])
    calibration = calibrate(logits, labels)
    plot_reliability(reliability, calibration)
    reliability.set(title=f"Calibration, {options.split}: {calibration.in_words()}", xlabel="confidence", ylabel="accuracy")
    for axes in (losses, accuracies, reliability):
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)
    _plot_facts(figure.add_subplot(grid[1, 2]), run)
    return figure


def _plot_rates(figure, grid, run):
    rate, speed = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    rate.plot(run.history["epoch"], run.history["learning_rate"], color=NEUTRAL, linewidth=1.8)
    rate.set(title="Learning rate and throughput", ylabel="learning rate")
    plot_speed(speed, run, color=NEUTRAL, linewidth=1.8, linestyle="--")
    speed.set_ylabel("images per second")
    for axes in (rate, speed):
        axes.set_ylim(bottom=0)
    over_epochs(rate, speed)
    rate.set_xlabel("")


def _plot_facts(axes, run):
    """Settings and results in words, two columns."""
    axes.set_axis_off()
    for row, (name, value) in enumerate(facts_of(run)):
        height = 1.0 - row / 12
        axes.text(0.02, height, name, transform=axes.transAxes, va="top", color=NEUTRAL)
        axes.text(0.42, height, literal(value), transform=axes.transAxes, va="top")


def facts_of(run):
    """Return (what, how much) of a run."""
    config, metrics = run.config, run.metrics
    chosen = asdict(config) | choices_of(run.run)
    rate = f"{config.optimizer}, learning rate {chosen['init_lr']:g}, {config.schedule}"
    facts = [
        ("model", config.model),
        ("data", f"{run.dataset.name}, {run.dataset.image_shape[0]} pixels, seed {config.seed}"),
        ("optimizer", rate),
        ("batch, weight decay", f"{chosen['batch_size']}, {config.weight_decay:g}"),
        ("parameters", f"{metrics['params']:,}"),
        ("multiply-accumulates", f"{metrics['macs']:,}"),
        ("epochs", f"{metrics['epochs']}, best on val {metrics['best_epoch']}"),
        ("training", f"{duration(metrics['seconds'])}, {metrics['images_per_second']:,.0f} images/s"),
    ]
    for split in ("train", "val", "test"):
        measured = metrics[split]
        interval = f" ({among})" if (among := interval_in_words(measured)) else ""
        shares = f"{100 * measured['accuracy']:.2f} %{interval}, macro F1 {measured['f1_macro']:.4f}"
        facts.append((split, f"{shares}, loss {measured['loss']:.4f}"))
    return facts
