"""Activations of a trained network: mean and standard deviation of the outputs of its norms and blocks."""

from dataclasses import dataclass, replace

from keras import ops
from matplotlib.ticker import MaxNLocator

from datasets.batches import at_once
from foundation.style import legend_below, literal, looks, plain, sheet
from models.blocks import ResidualBlock
from models.norms import Norm

READING = (
    "Deviations of one order from the first layer to the last pass the signal on; those that shrink with depth lose it, those"
    " that grow without end explode. Blocks of a residual network add to what they get, so theirs may grow slowly until the "
    "next stage."
)
IMAGES = 128  # maximum number of images: a network called as a function keeps what it computes


@dataclass(frozen=True)
class Statistic:
    """Mean and standard deviation of one layer's output over images, height, width and channels."""

    layer: str
    is_norm: bool
    mean: float
    deviation: float


def measure_activations(model, images):
    """Return a Statistic of every norm and every residual block at inference, in the order in which they are called."""
    found = []

    def around(layer, call, x):
        result = call(x)
        if isinstance(layer, Norm | ResidualBlock):
            values = ops.convert_to_numpy(ops.cast(result, "float32"))
            found.append(Statistic(layer.path, isinstance(layer, Norm), float(values.mean()), float(values.std())))
        return result

    model.run(images, around)
    return found


def draw_activations(runs, options):
    """Draw means and deviations by depth (as in He et al. 2015, figure 7), norms on the left, blocks on the right."""
    options = replace(options, images=min(options.images, at_once(runs[0].dataset.image_shape, IMAGES)))
    images = len(runs[0].sample(options)[1])
    figure = sheet(11, 6.4, f"Outputs of norms and blocks ({images:,} {options.split} images, at inference)", READING)
    grid = figure.subplots(2, 2, sharex="col")
    look_of = looks(run.name for run in runs)
    for run in runs:
        batches, _ = run.sample(options)
        statistics = measure_activations(run.model, batches[0][0])
        for column, kind in enumerate((True, False)):
            chosen = [statistic for statistic in statistics if statistic.is_norm == kind]
            numbers = range(1, len(chosen) + 1)
            for axes, name in zip(grid[:, column], ("mean", "deviation"), strict=True):
                axes.plot(
                    numbers, [getattr(statistic, name) for statistic in chosen], label=literal(run.name), **look_of[run.name]
                )
    plain(*grid.flat)
    grid[0, 0].set(title="norms", ylabel="mean")
    grid[0, 1].set(title="residual blocks")
    grid[1, 0].set(ylabel="standard deviation", xlabel="norm, from the images on")
    grid[1, 1].set(xlabel="block, from the images on")
    for axes in grid[1]:
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, grid[0, 0])
    return figure
