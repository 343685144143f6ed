"""Figures drawn from made-up numbers: flow, costs, colours, names, readings."""

import numpy as np
import pytest

from foundation.style import COLOURS, between_words, image_of, legend_below, look, looks, sheet, whole
from lab.reports.comparisons import Comparison
from lab.reports.figures import TRAINING_COSTS, differing, draw_costs, draw_curves, draw_differences
from lab.reports.flow import draw_flow
from lab.reports.results import Result, notes_on_chance
from lab.training.figures import draw_confusion

LAYERS = ["stem_conv/kernel", "stage1_block1/conv1/kernel", "classifier/kernel"]

FLOW = {"layers": LAYERS, "epoch": [1, 2], "gradient_norm": [[1.0, 0.5, 0.0], [0.9, 0.4, float("nan")]]}

FLOW |= {"weight_norm": [[5.0, 4.0, 3.0]] * 2, "update_ratio": [[0.01, 0.02, 0.001]] * 2}


@pytest.mark.filterwarnings("error")
def test_an_arm_is_drawn_as_far_as_its_longest_seed_came():
    names = ("accuracy", "loss", "val_accuracy", "val_loss")
    long, short = (dict.fromkeys(names, values) for values in ([0.5, 0.6, float("nan")], [0.3]))
    axes = draw_curves({"a": [long, short], "b": []}, "title").axes[0]
    (line,) = axes.lines
    np.testing.assert_allclose(line.get_ydata(), [40, 60, np.nan])
    low, high = (axes.collections[0].get_datalim(axes.transData).get_points()[:, 1]).tolist()
    assert (low, high) == pytest.approx((30, 60))


def test_flow_is_drawn_layer_by_layer_without_what_a_logarithm_has_no_place_for():
    figure = draw_flow({"a": FLOW, "b": FLOW}, "gradient_norm")
    curves, heat = figure.axes[0], figure.axes[2]
    assert curves.get_yscale() == "log"
    assert [line.get_label() for line in curves.lines] == ["epoch 1", "epoch 2"]
    assert curves.lines[0].get_ydata()[:2].tolist() == [1.0, 0.5] and np.isnan(curves.lines[0].get_ydata()[2])
    shown = heat.collections[0].get_array()
    assert shown.shape == (3, 2) and shown[:2].tolist() == [[1.0, 0.9], [0.5, 0.4]] and shown.mask[2].all()
    low, high = heat.get_ylim()
    assert low > high  # depth goes downwards


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_flows_of_many_runs_stand_two_beside_one_another(count):
    names = list("abcd"[:count])
    figure = draw_flow(dict.fromkeys(names, FLOW), "gradient_norm")
    assert whole(figure).get_size_inches()[0] < 12
    curves = [axes for axes in figure.axes if axes.get_yscale() == "log" and axes.lines]
    assert [axes.get_title() for axes in curves] == names
    assert len({axes.get_ylim() for axes in curves}) == 1  # what is compared has one scale
    heats = [axes for axes in figure.axes if axes.get_xlabel() == "epoch"]
    assert len(heats) == count and {axes.get_ylim() for axes in heats} == {(3.5, 0.5)}


def test_no_name_is_taken_for_a_formula():
    history = {name: [1.0, 0.5] for name in ("epoch", "loss", "val_loss", "accuracy", "val_accuracy")}
    confusion = np.array([[1, 2], [0, 3]])
    figure = draw_confusion(confusion, ["$_$", "x$y^$"], "$_$")
    for drawn in (draw_flow({"$_$": FLOW}, "gradient_norm"), draw_curves({"$_$": [history]}, "$^$"), figure):
        assert image_of(drawn, "png")
    assert figure.axes[0].get_xticklabels()[1].get_text().replace("\\", "") == "x$y^$"


def test_twenty_lines_differ_even_in_grey_and_forty_points_in_colour_or_marker():
    styles = [look(i) for i in range(40)]
    assert len({style["color"] for style in styles[:8]}) == 8
    assert len({(style["linestyle"], style["marker"]) for style in styles[:20]}) == 20
    assert len({(style["color"], style["marker"]) for style in styles}) == 40


def test_accuracy_against_cost_tells_networks_apart_by_markers_too():
    numbers = dict.fromkeys(TRAINING_COSTS, 100.0)
    results = [Result(f"r{i}", None, None, {0: 90.0 - i}, {0: numbers}, {}) for i in range(9)]
    axes = draw_costs(results, "costs").axes[0]
    points = {(line.get_color(), line.get_marker()) for line in axes.lines if line.get_marker() in "os^Dv"}
    assert len(points) == 10  # nine networks and the front


def test_flow_has_a_residual_network_layer_for_layer_beside_its_plain_twin():
    """Kernels beside the longest path, of a shortcut or an attention, are no depth."""
    beside = ["stage2_block1/shortcut_conv/kernel", "stage2_block1/attention/squeeze/kernel"]
    values = [[1.0, 9.0, 9.0, 0.5, 0.25]] * 2
    residual = {"layers": [LAYERS[0], *beside, *LAYERS[1:]], "epoch": [1, 2], "gradient_norm": values}
    curves, _, heat, *_ = draw_flow({"residual": residual, "plain": FLOW}, "gradient_norm").axes
    assert curves.lines[0].get_ydata().tolist() == [1.0, 0.5, 0.25]
    assert heat.collections[0].get_array().shape == (3, 2) and heat.get_ylim()[0] == 3.5


def test_a_networks_colour_follows_from_its_name_and_no_two_look_alike():
    names = [f"network-{i}" for i in range(30)]
    assert looks(["network-3"])["network-3"]["color"] in COLOURS
    assert looks(names) == looks(reversed(names)) and looks(name for name in names) == looks(names)
    assert len({(look["color"], look["linestyle"], look["marker"]) for look in looks(names).values()}) == len(names)
    few = looks(names[:4])
    assert len({look["color"] for look in few.values()}) == 4  # as long as there are colours


def test_a_reading_stands_under_the_figure_and_under_its_legend():
    figure = sheet(5, 3, "title", "how to read it, which takes several lines " * 4)
    axes = figure.subplots()
    axes.plot([1, 2], label="line")
    legend_below(figure, axes)
    foot = whole(figure).subfigs[1].texts[0]
    whole(figure).draw_without_rendering()
    assert foot.get_window_extent().y1 <= figure.legends[0].get_window_extent().y0 + 1 and foot.get_window_extent().y0 >= 0
    assert foot.get_window_extent().x1 <= whole(figure).bbox.x1
    assert len(foot.get_text().split("\n")) > 1


def test_names_break_between_words():
    assert between_words("Red Wattled Lapwing", 12) == "Red Wattled\nLapwing"
    assert between_words("train/Black_footed_Albatross/0001.jpg", 20) == "train/Black_footed_\nAlbatross/0001.jpg"


def test_costs_that_are_equal_are_no_panels_and_arms_at_chance_are_named():
    def result(name, accuracy, params):
        metrics = {0: {"params": params, "macs": 7, "test": {"accuracy": accuracy / 100, "images": 200}}}
        return Result(name, None, None, {0: accuracy}, metrics, {})

    small, large = result("small", 80.0, 100), result("large", 10.5, 300)
    assert differing([small, large], {"params": "p", "macs": "m"}) == {"params": "p"}
    assert differing([small, small], {"params": "p", "macs": "m"}) == differing([], {"params": "p"}) == {}
    (note,) = notes_on_chance([small, large], 10)
    assert note.startswith("large: no run is above chance (10 % with 10 classes)")
    assert next(notes_on_chance([large], 10)).startswith("No arm is above chance")
    assert not list(notes_on_chance([small], 10)) and not list(notes_on_chance([], None))
    large.versus, large.comparison = "small", Comparison("large", "small", (-69.5, -68.0))
    figure = draw_differences([large.comparison], "a study", ["small", "large"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["large minus small"]
