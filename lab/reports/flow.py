"""Gradient flow: what `--track-gradients` recorded of every layer and epoch, as curves by depth and as a heat map.

`flow.json` holds `layers` (paths of kernels, from the images on), `epoch`, and by epoch and layer `gradient_norm`,
`weight_norm` (L2, means over sampled steps) and `update_ratio` (the norm of a step's change / that of the weights). Drawn are
the kernels of the longest path, which a residual network and its plain twin have in common.
"""

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from foundation.style import HEAT, literal, look, plain, sheet
from models.architecture import BESIDE

QUANTITIES = {
    "gradient_norm": "norm of the gradient",
    "weight_norm": "norm of the weights",
    "update_ratio": "norm of a step / norm of the weights",
}

READINGS = {
    "gradient_norm": (
        "Curves of even height: every layer learns. Norms that shrink towards the images (left) vanish; norms that grow "
        "towards them by powers of ten explode. Exploding is degradation too: early in training the gradients of a plain "
        "network can be larger than those of a residual one."
    ),
    "weight_norm": (
        "Curves of later epochs above earlier ones: the weights of these layers grow. Where they sink towards zero, weight decay "
        "has emptied the layer."
    ),
    "update_ratio": (
        "About one in a thousand is usual. Far above it a layer changes faster than it can settle, far below it the layer stays "
        "as it began."
    ),
}
COLUMNS = 2  # runs beside one another: what a page has room for


def draw_gradients(runs, options):
    """Draw gradient norms by depth and epoch."""
    return draw_flow({run.name: run.flow for run in runs}, "gradient_norm")


def draw_weights(runs, options):
    """Draw weight norms by depth and epoch."""
    return draw_flow({run.name: run.flow for run in runs}, "weight_norm")


def draw_updates(runs, options):
    """Draw ratios of update to weight by depth and epoch."""
    return draw_flow({run.name: run.flow for run in runs}, "update_ratio")


def draw_flow(flows, quantity):
    """One of QUANTITIES for each of {name: content of flow.json}, two beside one another: first, middle and last epoch by depth,
    below them depth x epoch."""
    columns, rows = min(len(flows), COLUMNS), -(-len(flows) // COLUMNS)
    figure = sheet(
        1.6 + 5.0 * columns, 0.4 + 6.8 * rows, f"{QUANTITIES[quantity].capitalize()}, layer by layer", READINGS[quantity]
    )
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=(1, 1.1) * rows)
    curves, heats = grid[::2].ravel(), grid[1::2].ravel()
    for axes in curves[1:]:
        axes.sharey(curves[0])
    by_depth = {name: _by_depth(flow, quantity) for name, flow in flows.items()}
    scale = LogNorm(*_positive_range(np.concatenate([np.ravel(values) for values in by_depth.values()])))
    for i, (name, flow) in enumerate(flows.items()):
        plot_by_depth(curves[i], by_depth[name], flow["epoch"])
        curves[i].set_title(literal(name))
        image = plot_heat(heats[i], by_depth[name], flow["epoch"], scale)
    for axes in (*curves[len(flows) :], *heats[len(flows) :]):
        axes.remove()
    for first in range(0, len(flows), COLUMNS):
        last = min(first + COLUMNS, len(flows))
        curves[first].set_ylabel(QUANTITIES[quantity])
        heats[first].set_ylabel("layer, from the images on")
        figure.colorbar(image, ax=heats[first:last], label=QUANTITIES[quantity])
        deepest = max(values.shape[1] for values in list(by_depth.values())[first:last])
        for axes in heats[first:last]:  # those beside one another layer beside layer
            axes.set_ylim(deepest + 0.5, 0.5)
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in grid[:, 1:].ravel():
        axes.tick_params(labelleft=False)
    return figure


def _by_depth(flow, quantity):
    """Return values `(epochs, layers)` of the longest path."""
    is_beside = [bool({*BESIDE} & {*path.split("/")}) for path in flow["layers"]]
    return np.array(flow[quantity], float)[:, np.logical_not(is_beside)]


def plot_by_depth(axes, values, epochs):
    """Values `(epochs, layers)` of the first, the middle and the last epoch against depth."""
    chosen = sorted({0, len(epochs) // 2, len(epochs) - 1})
    shades = [str(grey) for grey in np.linspace(0.7, 0.1, len(chosen))]  # colours are for networks
    for i, epoch in enumerate(chosen):
        axes.plot(
            range(1, values.shape[1] + 1), _shown(values[epoch]), label=f"epoch {epochs[epoch]}", **look(i) | {"color": shades[i]}
        )
    axes.set(xlabel="layer, from the images on", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(axes)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.2), ncols=3)


def plot_heat(axes, values, epochs, scale):
    """Plot values `(epochs, layers)` as colours: epochs to the right, depth downwards."""
    edges = np.arange(len(epochs) + 1) + epochs[0] - 0.5, np.arange(values.shape[1] + 1) + 0.5
    image = axes.pcolormesh(*edges, np.ma.masked_invalid(_shown(values.T)), cmap=HEAT, norm=scale)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return image


def _shown(values):
    """Return values with NaN for zeros, which have no place on a logarithmic axis, and for what is not finite."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _positive_range(values):
    shown = _shown(values)
    shown = shown[np.isfinite(shown)]
    return (float(shown.min()), max(float(shown.max()), float(shown.min()) * 1.01)) if len(shown) else (1.0, 10.0)
