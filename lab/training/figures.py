"""Pictures of a finished run."""

import numpy as np

from foundation.style import literal, sheet

READING = "A row is a true class: its share on the diagonal is right, what is dark elsewhere in the row it is taken for."


def draw_confusion(confusion, class_names, title):
    """Draw the confusion matrix as shares of each true class; counts are written in where they can be read."""
    side = side_of(class_names)
    figure = sheet(side + 1.0, side, title, READING)
    axes = figure.subplots()
    plot_confusion(axes, confusion, class_names)
    return figure


def side_of(class_names) -> float:
    """Return the inches that a matrix of so many classes takes."""
    return min(3.0 + 0.42 * len(class_names), 16.0)


def plot_confusion(axes, confusion, class_names):
    """The matrix with its colour bar: rows are the true classes, columns the predicted ones."""
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    if len(class_names) <= 40:
        names = list(map(literal, class_names))
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
    if len(class_names) <= 25:
        for row, column in zip(*np.nonzero(confusion), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, confusion[row, column], ha="center", va="center", color=colour, fontsize=7)
    axes.set(xlabel="predicted", ylabel="true")
