"""The lesion study of Veit et al. 2016, section 4.1: a trained network without one of its residual blocks.

Networks with skip connections lose little, as an ensemble loses little with one of its members; plain networks fall apart.
"""

from dataclasses import dataclass

import keras
import numpy as np

from foundation.style import NEUTRAL, legend_below, literal, looks, plain, sheet
from lab.training.evaluation import predict
from models.blocks import ResidualBlock

READING = (
    "A marker is the accuracy without that block, the thin line that of the whole network. A residual network loses little "
    "without any single block, because others stand in for it; a plain one falls apart."
)


@dataclass(frozen=True)
class Lesions:
    """Accuracy of the whole network, and {block's name: accuracy without it}; None where its place can't be left empty."""

    whole: float
    without: dict[str, float | None]


class Shortcut(keras.layers.Layer):
    """A residual block whose branch is left out; computes with the block's own weights."""

    def __init__(self, block):
        super().__init__(name=f"{block.name}_shortcut", dtype=block.dtype_policy)
        self.block = block

    def call(self, x):
        return self.block.call_shortcut(x)

    def compute_output_shape(self, input_shape):
        return self.block.compute_output_shape(input_shape)


def blocks_of(model):
    """The residual blocks of a network, in the order of depth."""
    return [layer for layer in model.layers if isinstance(layer, ResidualBlock)]


def without(model, block):
    """The network with one block's branch left out, on the same weights."""
    shortcut = Shortcut(block)
    return model.rebuilt(lambda layer: shortcut if layer is block else layer)


def is_removable(block):
    """Return whether a block can be left out: without a skip connection, only if it changes no shape."""
    return block.spec.wiring.is_joined or tuple(block.input.shape) == tuple(block.output.shape)


def measure_lesions(model, batches, labels) -> Lesions:
    """The Lesions of a model: accuracy on these images after each block has been left out alone. Nothing is trained anew."""

    def accuracy(lesioned):
        return float((predict(lesioned, batches).argmax(1) == labels).mean())

    damaged = {block.name: accuracy(without(model, block)) if is_removable(block) else None for block in blocks_of(model)}
    return Lesions(accuracy(model), damaged)


def draw_lesions(runs, options):
    """Accuracy after the removal of each block, run beside run (Veit et al. 2016, figure 3)."""
    return draw_measured(measure(runs, options), runs, options)


def measure(runs, options):
    """{run's name: its Lesions}."""
    return {run.name: measure_lesions(run.model, *run.sample(options)) for run in runs}


def draw_measured(studied, runs, options):
    """The figure of {run's name: its Lesions}."""
    images = len(runs[0].sample(options)[1])
    places = [[_place(block) for block in blocks_of(run.model)] for run in runs]
    longest = max(places, key=len)
    figure = sheet(
        max(8.0, 2.5 + 0.42 * len(longest)), 4.8, f"Accuracy without one block ({images:,} {options.split} images)", READING
    )
    axes = figure.subplots()
    look_of = looks(studied)
    for run in runs:
        plot_lesions(axes, studied[run.name], blocks_of(run.model), run.name, look_of[run.name])
    numbers, is_same = range(1, len(longest) + 1), all(own == longest for own in places)
    axes.set_xticks(numbers, longest if is_same else [*map(str, numbers)], rotation=60 if len(longest) > 12 else 0)
    counted = "stage.block" if is_same else "counted from the images on"
    axes.set(xlabel=f"block left out ({counted}; hollow: where the shape changes)", ylabel="accuracy (%)", ylim=(0, 103))
    plain(axes)
    legend_below(figure, axes, columns=2)
    return figure


def plot_lesions(axes, lesions, blocks, name, look):
    """One run: a marker for every block, hollow where the block changes the shape, and a line at the whole network's accuracy."""
    style = look | {"markersize": 7, "linewidth": 1.2}
    numbers = np.arange(1, len(blocks) + 1)
    values = np.array([np.nan if value is None else 100 * value for value in lesions.without.values()])
    fixed = int(np.isnan(values).sum())
    note = f" ({fixed} blocks change the shape and must stay)" if fixed else ""
    axes.plot(numbers, values, label=literal(name) + note, **style)
    changes = [bool(block.spec.shortcut_parts) for block in blocks]
    axes.plot(numbers[changes], values[changes], **style | {"linestyle": "", "markerfacecolor": "white", "markeredgewidth": 1.6})
    axes.axhline(100 * lesions.whole, color=style["color"], linestyle=style["linestyle"], linewidth=0.9, alpha=0.6)
    right = axes.get_yaxis_transform()
    axes.text(1.005, 100 * lesions.whole, "whole", color=NEUTRAL, transform=right, va="center", fontsize=8)


def _place(block):
    return block.name.removeprefix("stage").replace("_block", ".")
