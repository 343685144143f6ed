"""Block diagram: a network's stages, and each kind of its residual blocks with layers in the order of their calls."""

from itertools import groupby

from matplotlib.patches import Circle, FancyBboxPatch

from foundation.grammar import counted
from foundation.style import COLOURS, NEUTRAL, sheet
from lab.reports.block_steps import steps_of
from lab.reports.lesion import blocks_of
from models.blocks import ResidualBlock
from models.costs import count_macs

# Light enough for black text. Kinds differ in grey as far as five tints can, and every box has a label.
TINTS = {
    "convolution": "#9CC9E8",
    "norm": "#EFEFEF",
    "activation": "#FBDDB0",
    "attention": "#9FDCC6",
    "pooling": "#E9C6DA",
    "stage": "#FFFFFF",
    "other": "#FFFFFF",
}
HEIGHT, GAP, WIDTH = 0.62, 0.36, 3.5  # of boxes and of gaps between them, in units of SCALE inches
PLUS = 0.44  # height of the circle where branch and shortcut are added
SCALE = 0.6
READING = (
    "Read downwards, from the images to the classes; sizes are height x width x channels. In a block the orange line is the "
    "shortcut, which carries the input past the branch to where both are added."
)
KINDS = 3  # maximum number of kinds of blocks that are shown


def draw_blocks(runs, options):
    """Draw the network of one run."""
    (run,) = runs
    title = f"{run.config.model}: {run.model.count_params():,} parameters, {count_macs(run.model):,} multiply-accumulates"
    return draw_architecture(run.model, title)


def draw_architecture(model, title):
    """Draw the stages of a model on the left and its kinds of blocks beside them."""
    network, kinds = stages_of(model), list(kinds_of_blocks(model).values())[:KINDS]
    columns = [steps_of(blocks[0]) for blocks in kinds]
    rows = max(len(network), *(len(t.trunk) + max(len(t.branch), len(t.shortcut)) + len(t.after) + 2 + t.joined for t in columns))
    widths = [WIDTH + 1.0] + [WIDTH + 0.6 + _reach(t) * t.joined + 0.5 * WIDTH * bool(t.shortcut) for t in columns]
    height = rows * (HEIGHT + GAP)
    figure = sheet(SCALE * (sum(widths) + 1), SCALE * (height + 1.5), title, READING)
    all_axes = figure.subplots(1, len(widths), width_ratios=widths)
    for axes, width in zip(all_axes, widths, strict=True):
        axes.set(xlim=(-WIDTH / 2 - 0.1, width - WIDTH / 2 - 0.1), ylim=(-height, 0.1), aspect="equal", anchor="N")
        axes.set_axis_off()
    _plot_column(all_axes[0], [("stage", words) for words in network], 0, 0)
    all_axes[0].set_title("network", loc="left", fontsize=10, fontweight="bold")
    for axes, blocks, found in zip(all_axes[1:], kinds, columns, strict=True):
        axes.set_title(_heading(blocks), loc="left", fontsize=10, fontweight="bold")
        plot_block(axes, found, blocks[0])
    return figure


def draw_block(block):
    """Draw one block of a network, with its own shapes."""
    found = steps_of(block)
    rows = len(found.trunk) + max(len(found.branch), len(found.shortcut)) + len(found.after) + 2 + found.joined
    width, height = WIDTH + 0.6 + _reach(found) * found.joined + 0.5 * WIDTH * bool(found.shortcut), rows * (HEIGHT + GAP)
    figure = sheet(SCALE * (width + 0.6), SCALE * (height + 1.0))
    axes = figure.subplots()
    axes.set(xlim=(-WIDTH / 2 - 0.1, width - WIDTH / 2 - 0.1), ylim=(-height, 0.1), aspect="equal", anchor="N")
    axes.set_axis_off()
    axes.set_title(block.name.replace("_", " "), loc="left", fontsize=10, fontweight="bold")
    plot_block(axes, found, block)
    return figure


def _reach(found):
    """Return the distance from the middle of the branch to that of the shortcut."""
    return WIDTH + 0.5 if found.shortcut else WIDTH / 2 + 0.5


def stages_of(model):
    """Return the parts of a model, a line each, in the order of its layers; the blocks of one stage share a line."""
    lines = []
    for key, group in groupby(model.layers, key=_stage_of):
        layers = list(group)
        shape = "×".join(str(size) for size in layers[-1].output.shape[1:])
        blocks = counted(len(layers), "block") if isinstance(layers[0], ResidualBlock) else ""
        lines.append(f"{key.replace('_', ' ')}{': ' + blocks if blocks else ''}, {shape}")
    return lines


def _stage_of(layer):
    return layer.name.partition("_block")[0] if isinstance(layer, ResidualBlock) else layer.name


def kinds_of_blocks(model):
    """Return {(shortcut, stride): blocks of that kind}, in the order of depth."""
    kinds = {}
    for block in blocks_of(model):
        kinds.setdefault((block.spec.shortcut, block.spec.stride), []).append(block)
    return kinds


def _heading(blocks):
    more = f" and {len(blocks) - 1} like it" if len(blocks) > 1 else ""
    return blocks[0].name.replace("_", " ") + more


def plot_block(axes, found, block):
    """Plot BlockSteps: trunk and branch down the middle, the shortcut to the right, the addition, and the steps after it."""
    taken, given = ("×".join(str(size) for size in tensor.shape[1:]) for tensor in (block.input, block.output))
    start = _plot_column(axes, [("other", f"input, {taken}"), *_boxes(found.trunk)], 0, 0)
    end = _plot_column(axes, _boxes(found.branch), 0, start, leads_in=True)
    if found.joined:
        _arrow(axes, (0, end), (0, end - GAP))
        end -= GAP + PLUS
        axes.add_patch(Circle((0, end + PLUS / 2), PLUS / 2, facecolor="white", edgecolor=NEUTRAL, zorder=2))
        axes.text(0, end + PLUS / 2, "+", ha="center", va="center_baseline", fontsize=12, zorder=3)
        _plot_shortcut(axes, found, start - GAP / 3, end + PLUS / 2)
    _plot_column(axes, [*_boxes(found.after), ("other", f"output, {given}")], 0, end, leads_in=True)


def _plot_shortcut(axes, found, parting, joining):
    """Plot the shortcut from the middle at the height `parting`, around the branch, to the addition at `joining`."""
    x, middle = _reach(found), (parting + joining) / 2
    axes.plot([0, x, x], [parting, parting, joining], color=COLOURS[1], linewidth=1.8, zorder=1)
    arrow = {"arrowstyle": "-|>", "color": COLOURS[1], "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (PLUS / 2, joining), (x, joining), arrowprops=arrow)
    if found.shortcut:
        half = 0.5 * (len(found.shortcut) * (HEIGHT + GAP) - GAP)
        _plot_column(axes, _boxes(found.shortcut), x, middle + half, has_arrows=False)
    else:
        axes.text(x + 0.12, middle, "identity", color=COLOURS[1], va="center", rotation=90, fontsize=9)


def _plot_column(axes, boxes, x, y, leads_in=False, has_arrows=True):
    """Plot boxes (kind, words) downwards from y at x, with arrows between them; return the lower edge of the last."""
    for i, (kind, words) in enumerate(boxes):
        if i or leads_in:
            if has_arrows:
                _arrow(axes, (x, y), (x, y - GAP))
            y -= GAP
        box = FancyBboxPatch((x - WIDTH / 2, y - HEIGHT), WIDTH, HEIGHT, "round,pad=0,rounding_size=0.12")
        box.set(facecolor=TINTS[kind], edgecolor=NEUTRAL, linewidth=0.8, zorder=2)
        axes.add_patch(box)
        axes.text(x, y - HEIGHT / 2, words, ha="center", va="center", fontsize=8, zorder=3)
        y -= HEIGHT
    return y


def _boxes(steps):
    return [(step.kind, step.words) for step in steps]


def _arrow(axes, start, end):
    style = {"arrowstyle": "-|>", "color": NEUTRAL, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=style)
