"""What figures show of a network, against independent formulas: calibration, lesions, directions, statistics, diagrams."""

import re

import keras
import numpy as np
import pytest
from block_tracing import trace
from conftest import run_python
from hypothesis import given, settings
from hypothesis import strategies as st

import dispatcher
from lab.reports.activations import measure_activations
from lab.reports.architecture_diagram import kinds_of_blocks, stages_of
from lab.reports.block_steps import steps_of
from lab.reports.calibration import calibrate
from lab.reports.landscape import filter_normalized_direction
from lab.reports.lesion import blocks_of, without
from models.initialize import initialize
from models.layers import layers_of
from models.norms import Norm

pytestmark = pytest.mark.numeric


def model_of(name, size=16, **options):
    model = dispatcher.build_model(name, (size, size, 3), 5, **options)
    initialize(model, 0)
    random = np.random.default_rng(0)
    for variable in model.variables:  # norms that do something
        if len(variable.shape) == 1 and "address" not in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape).astype("float32"))
    return model


def images_for(model, count=4):
    return np.random.default_rng(1).standard_normal((count, *model.input_shape[1:])).astype("float32")


def test_the_expected_calibration_error_is_that_of_a_case_by_hand():
    # Confidences 0.9, 0.9, 0.6, 0.6 with 2 and 1 right: (2 |1 - 0.9| + 2 |0.5 - 0.6|) / 4 = 0.1
    logits = np.log(np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.6, 0.4]]))
    calibration = calibrate(logits, np.array([0, 1, 0, 1]), bins=10)
    assert calibration.error == pytest.approx(0.1)
    assert calibration.counts.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 2, 0]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 80), classes=st.integers(2, 12))
def test_the_expected_calibration_error_is_that_of_a_loop_over_bins(seed, count, classes):
    random = np.random.default_rng(seed)
    labels, logits = random.integers(0, classes, count), 3 * random.standard_normal((count, classes))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    confidence, is_right, error = shares.max(1), shares.argmax(1) == labels, 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(is_right[inside].mean() - confidence[inside].mean())
    assert calibrate(logits, labels).error == pytest.approx(error)


@pytest.mark.parametrize("name", ["resnet20", "preresnet20", "xresnet20", "mini-bottleneck-pre", "se-mxresnext29_16x2d"])
def test_without_a_block_is_with_a_branch_of_zeros(name):
    model = model_of(name, blocks=2)
    images = images_for(model)
    for block in blocks_of(model):
        lesioned = without(model, block).predict_on_batch(images)
        last = block.norms[-1].trainable_variables if block.spec.order == "post" else block.convs[-1].trainable_variables
        kept = [np.array(keras.ops.convert_to_numpy(variable)) for variable in last]
        assert np.abs(lesioned - model.predict_on_batch(images)).max() > 1e-4
        for variable in last:
            variable.assign(np.zeros(variable.shape))
        assert np.allclose(lesioned, model.predict_on_batch(images), atol=1e-5)
        for variable, value in zip(last, kept, strict=True):
            variable.assign(value)


def test_directions_are_as_long_as_the_weights_filter_by_filter():
    model = model_of("se-mxresnet20", blocks=1)
    weights = {variable.path: np.array(variable) for variable in model.trainable_variables}
    direction = filter_normalized_direction(weights, 7, 0)
    for path, value in weights.items():
        if value.ndim == 1:
            assert not direction[path].any()
        for i in range(value.shape[-1] if value.ndim > 1 else 0):
            assert np.linalg.norm(direction[path][..., i]) == pytest.approx(np.linalg.norm(value[..., i]), rel=1e-4), path
    again, other = filter_normalized_direction(weights, 7, 0), filter_normalized_direction(weights, 7, 1)
    kernel = "stem_conv/kernel"
    assert np.array_equal(direction[kernel], again[kernel])
    flat = [array[kernel].ravel() / np.linalg.norm(array[kernel]) for array in (direction, other)]
    assert abs(flat[0] @ flat[1]) < 0.3


def test_statistics_are_those_of_the_layers_outputs():
    model = model_of("resnet20", blocks=1)
    images = images_for(model)
    statistics = {statistic.layer: statistic for statistic in measure_activations(model, images)}
    for name in ("stem_norm", "stage1_block1", "stage3_block1"):
        output = keras.Model(model.input, model.get_layer(name).output).predict_on_batch(images)
        assert statistics[name].mean == pytest.approx(output.mean(), rel=1e-4)
        assert statistics[name].deviation == pytest.approx(output.std(), rel=1e-4)
    norms = [layer for layer in layers_of(model) if isinstance(layer, Norm)]
    assert sum(statistic.is_norm for statistic in statistics.values()) == len(norms) == 9


EVONORM = {"norm": "evonorm-s0"}
FAMILIES = {
    "resnet20": {},
    "plain20": {},
    "preresnet20": {"shortcut": "zero"},
    "xresnet20": {"norm": "group"},
    "se-mxresnext29_16x2d": {},
    "mini-bottleneck-pre": {},
    "mini-bottleneck-post": {"attention": "cbam", "stochastic_depth": 0.5},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_diagrams_words_are_those_of_the_models_layers(name):
    model, architecture = model_of(name, **FAMILIES[name]), dispatcher.architecture_of(name, **FAMILIES[name])
    for blocks in kinds_of_blocks(model).values():
        block, found = blocks[0], steps_of(blocks[0])
        path = found.trunk + found.branch
        for steps, prefix in ((path, "conv"), (found.shortcut, "shortcut_conv")):
            kernels = [tuple(weight.shape) for weight in block.weights if f"/{prefix}" in weight.path and "kernel" in weight.path]
            shown = [re.match(r"(\d)×(\d) conv, (\d+)", step.words) for step in steps if step.kind == "convolution"]
            assert [tuple(map(int, words.groups())) for words in shown] == [(k[0], k[1], k[3]) for k in kernels]
        strides = [int(words) for step in path for words in re.findall(r"stride (\d)", step.words)]
        assert strides == ([block.spec.stride] if block.spec.stride > 1 else [])
        kinds = "".join(step.kind[0] for step in path if step.kind in ("convolution", "norm", "activation"))
        count = 2 if architecture.bottleneck is None else 3
        assert kinds == ("nac" * count if architecture.order == "pre" else ("cna" * count)[:-1])
        assert [step.words for step in found.after] == (["ReLU"] if architecture.order == "post" else [])
        assert found.joined == (architecture.shortcut != "none")
        assert bool(found.shortcut) == (block.spec.shortcut in ("projection", "pool", "zero"))
        assert any(step.kind == "attention" for step in path) == (architecture.attention != "none")
        assert any("group norm" in step.words for step in path) == (architecture.norm == "group")
    lines = " ".join(stages_of(model))
    for stage, blocks in enumerate(architecture.blocks_per_stage, start=1):
        assert f"stage{stage}: {blocks} block" in lines


@pytest.mark.parametrize(("name", "options"), [*FAMILIES.items(), *((name, EVONORM) for name in ("resnet20", "xresnet20"))])
def test_a_block_is_wired_as_it_declares(name, options):
    for blocks in kinds_of_blocks(model_of(name, blocks=1, **options)).values():
        assert trace(blocks[0]) == blocks[0].spec.wiring


def test_the_figures_that_run_networks_do_so_on_jax(tmp_path):
    process = run_python("-c", ON_ANOTHER_BACKEND, backend="jax")
    assert process.returncode == 0, process.stderr


ON_ANOTHER_BACKEND = """
import dispatcher, numpy as np
from foundation import keras_defaults
from lab.reports.activations import measure_activations
from lab.reports.block_steps import steps_of
from lab.reports.lesion import blocks_of, without
model = dispatcher.build_model("preresnet20", (8, 8, 3), 5, blocks=1)
images = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype("float32")
assert len(measure_activations(model, images)) == 10
block = blocks_of(model)[1]
assert [step.kind for step in steps_of(block).trunk] == ["norm", "activation"]
lesioned = without(model, block).predict_on_batch(images)
block.convs[-1].kernel.assign(np.zeros(block.convs[-1].kernel.shape))
assert np.allclose(lesioned, model.predict_on_batch(images), atol=1e-5)
"""
