"""Pictures of a finished run."""

import numpy as np
from matplotlib.figure import Figure


def draw_confusion(confusion, class_names, title):
    """The confusion matrix as shares of each true class; counts are written in where they can be read."""
    classes = len(class_names)
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = min(3.0 + 0.42 * classes, 16.0)
    figure = Figure(figsize=(side + 1.0, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    if classes <= 40:
        axes.set_xticks(range(classes), class_names, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(classes), class_names)
    if classes <= 25:
        for row, column in zip(*np.nonzero(confusion), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, confusion[row, column], ha="center", va="center", color=colour, fontsize=7)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    return figure
