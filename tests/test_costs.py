"""What a network costs, against hand counts, torch's own counter and what a process really took."""

import json

import pytest
import torch
from conftest import ROOT, run_python
from whole_runs import train

from dispatcher import build_model
from lab.benchmarks import scaling
from lab.benchmarks.tensor_memory import LiveBytes, peak_bytes
from lab.reports.block_steps import step_costs
from lab.reports.costs import cost_table
from lab.reports.lesion import blocks_of
from lab.reports.results import Result, pareto_front
from models.architecture import PARTS
from models.attention import ATTENTIONS
from models.blocks import ResidualBlock
from models.costs import KINDS, MAC_KINDS, RULES, costs_of, costs_of_layers, count_macs
from models.folding import fold_norms
from models.layers import layers_of
from models.norms import NORMS

VARIANTS = [("norm", NORMS), ("attention", ATTENTIONS), *((part, PARTS[part]) for part in ("stem", "order", "shortcut", "head"))]


@pytest.mark.parametrize(("part", "value"), [(part, value) for part, values in VARIANTS for value in values])
def test_every_layer_that_a_network_can_have_has_a_rule(part, value):
    """One without would be left out of the costs silently: it belongs into RULES, with None where it costs nothing."""
    depth = 0.0 if value == "none" and part == "shortcut" else 0.5
    model = build_model("resnet20", (8, 8, 3), 3, blocks=1, stochastic_depth=depth, **{part: value})
    layers = list(layers_of(model))
    assert not {type(layer) for layer in layers if not isinstance(layer, tuple(RULES))}
    # Keras finds layers in every attribute: one that its owner does not name in `parts` would be left out silently too.
    assert {id(layer) for layer in model._flatten_layers(include_self=False)} == set(map(id, layers))


def test_the_kinds_of_plain20_equal_the_hand_count():
    costs = costs_of(build_model("plain20", (32, 32, 3), 10))
    written = 32 * 32 * 16 * 7 + 16 * 16 * 32 * 6 + 8 * 8 * 64 * 6  # by the 19 convolutions; as many norms and activations
    assert list(costs) == list(KINDS)
    assert costs["convolution"].activations == costs["norm"].operations == costs["element-wise"].operations == written
    assert costs["convolution"].operations == 40_550_400 and costs["dense"].operations == 640
    assert costs["pooling"].operations == 8 * 8 * 64
    assert costs["grouped convolution"].operations == 0


@pytest.mark.parametrize("name", ["resnet20", "plain20", "se-mxresnext29_16x2d", "resnet50d-224"])
def test_the_steps_of_all_blocks_cost_what_the_network_costs_without_stem_and_classifier(name):
    model = build_model(name, (32, 32, 3), 10, blocks=1)
    outside = [layer for layer in model.layers if not isinstance(layer, ResidualBlock)]
    rest = costs_of_layers(outside)
    steps = [step for block in blocks_of(model) for step in step_costs(block)]
    assert sum(step.macs for step in steps) == count_macs(model) - sum(rest[kind].operations for kind in MAC_KINDS)
    assert sum(step.weights for step in steps) == model.count_params() - sum(cost.parameters for cost in rest.values())
    for block in blocks_of(model):
        found = step_costs(block)
        assert (found[0].reads, found[-1].writes) == (tuple(block.input.shape[1:]), tuple(block.output.shape[1:]))
        assert [step.place for step in found].count("sum") == (block.spec.shortcut != "none")


def test_an_addition_is_what_a_residual_network_costs_more():
    residual = costs_of(build_model("resnet20", (32, 32, 3), 10, shortcut="zero"))
    plain = costs_of(build_model("plain20", (32, 32, 3), 10))
    added = 3 * (32 * 32 * 16 + 16 * 16 * 32 + 8 * 8 * 64)
    assert residual["element-wise"].operations - plain["element-wise"].operations == added
    assert all(residual[kind] == plain[kind] for kind in MAC_KINDS)


def test_grouped_convolutions_are_counted_apart():
    costs = costs_of(build_model("xresnext29_16x2d", (32, 32, 3), 10))
    # The 3x3 convolution has the stride, so that its output is small already in a stage's first block.
    stages = 3 * 32 * 32 * 9 * 32 * 2, 3 * 16 * 16 * 9 * 64 * 4, 3 * 8 * 8 * 9 * 128 * 8
    assert costs["grouped convolution"].operations == sum(stages)


def test_a_folded_network_has_no_norms_to_pay_for():
    model = build_model("resnet20", (32, 32, 3), 10)
    folded = fold_norms(model)
    assert costs_of(folded)["norm"].operations == 0
    assert count_macs(folded) == count_macs(model)


def test_live_bytes_follow_tensors_from_birth_to_end():
    with LiveBytes() as live:
        first = torch.zeros(1000)
        view = first[10:]
        second = torch.zeros(500)
        assert live.bytes == 6000
        del first
        assert live.bytes == 6000
        del view, second
        assert live.bytes == 0 and live.peak == 6000


def test_peak_memory_grows_by_the_image():
    (inference, training), (double, double_training) = (peak_bytes(build_model("resnet20", (32, 32, 3), 10), n) for n in (32, 64))
    image = 32 * 32 * 16 * 4  # a feature map of the first stage: two or three live at once, in training all that a gradient needs
    assert 2 * image <= (double - inference) / 32 <= 5 * image
    assert 15 * image <= (double_training - training) / 32 <= 30 * image


def test_the_table_and_the_record_of_benchmark_cost(tmp_path):
    process = run_python(ROOT / "benchmark.py", "cost", "resnet20", "--shortcut", "zero", "--json", "c.json", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "40,551,040" in process.stdout
    (record,) = json.loads((tmp_path / "c.json").read_text())
    assert record["macs"] == 40_551_040 and record["flops"] == 2 * record["macs"]
    assert record["trainable_parameters"] == 269_722
    assert record["weights_bytes"] == 4 * (269_722 + record["other_parameters"])
    assert record["training_bytes"] > record["inference_bytes"] > 0


def test_the_pareto_front_is_what_no_other_beats():
    points = {"cheap": (1, 80.0), "worse": (2, 79.0), "best": (3, 90.0), "as good but dearer": (4, 90.0), "twin": (1, 80.0)}
    results = [Result(name, None, None, {0: accuracy}, {0: {"macs": macs}}, {}) for name, (macs, accuracy) in points.items()]
    assert [result.name for result in pareto_front(results, "macs")] == ["cheap", "best", "twin"]
    lines = cost_table(results, {"macs": "MACs"}).splitlines()
    assert [line.split()[0] for line in lines if line.endswith("*")] == ["best", "cheap", "twin"]


def test_finished_runs_stand_in_one_table_and_picture(image_folder, tmp_path):
    for n in ("1", "2"):
        process = train(tmp_path, image_folder, "--n", n, "--epochs", "1", "--run", f"blocks-{n}")
        assert process.returncode == 0, process.stderr
    process = run_python(ROOT / "benchmark.py", "cost", "--runs", "blocks-*", "--plot", "costs.png", cwd=tmp_path, draws=True)
    assert process.returncode == 0, process.stderr
    rows = [line for line in process.stdout.splitlines() if "blocks-" in line]
    assert len(rows) == 2 and any("*" in row for row in rows)
    assert (tmp_path / "costs.png").stat().st_size > 10_000
    process = run_python(ROOT / "benchmark.py", "cost", "--runs", "none-*", cwd=tmp_path)
    assert process.returncode == 2 and process.stderr.count("\n") == 1


def test_what_processes_tell_one_another_is_the_ring_of_all_gradients():
    _, weights, size, milliseconds = scaling.measure("resnet20", processes=8, classes=10)
    assert (weights, size) == (272_474, 1_089_896)
    assert milliseconds["1 Gbit/s"] == pytest.approx(1e3 * 8 * 1_089_896 * 1.75 / 1e9)
    assert scaling.measure("resnet20", processes=1, classes=10)[-1]["1 Gbit/s"] == 0
