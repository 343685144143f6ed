"""Who is taken for whom: the confusion matrix and the pairs that are confused most."""

from foundation.grammar import counted
from foundation.style import COLOURS, literal_lines, plain, sheet
from lab.training.evaluation import confusion_matrix, most_confused
from lab.training.figures import READING, plot_confusion, side_of


def draw_confusion_and_pairs(runs, options):
    """Draw the matrix of one run beside its most-confused pairs."""
    (run,) = runs
    names = run.dataset.class_names
    confusion = confusion_matrix(run.logits(options.split), run.labels(options.split))
    side = side_of(names)
    figure = sheet(side + 5.4, max(side, 4.5), f"{run.name}: {options.split}", READING)
    matrix, pairs = figure.subplots(1, 2, width_ratios=(side + 1, 4.4))
    plot_confusion(matrix, confusion, names)
    plot_pairs(pairs, most_confused(confusion, names))
    return figure


def plot_pairs(axes, pairs):
    """Bars of the pairs taken for one another most often, longest on top; `pairs` as `most_confused` gives them."""
    axes.set_title("most confused")
    if not pairs:
        axes.text(0.5, 0.5, "every image is right", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    labels = [literal_lines(f"{pair['true']} taken for {pair['predicted']}", 30) for pair in pairs]
    bars = axes.barh(labels, [100 * pair["share"] for pair in pairs], color=COLOURS[0])
    counts = [counted(pair["images"], "image") for pair in pairs]
    axes.bar_label(bars, counts, padding=3, fontsize=8)
    axes.set_ylim(max(len(pairs), 6) - 0.4, -0.6)
    axes.set_xlabel("share of the true class (%)")
    axes.margins(x=0.25)
    plain(axes)
    axes.grid(False, axis="y")
