"""Architectures: parameter counts of the studies, weight paths, gradients, serialisation."""

import re

import keras
import numpy as np
import pytest
import torch
from conftest import ROOT, run_python
from torch.utils.flop_counter import FlopCounterMode

from dispatcher import MODELS, architecture_of, build_model, list_models, measure_model
from foundation.errors import UserError
from foundation.randomness import generator
from models.architecture import PARTS
from models.attention import ATTENTIONS
from models.blocks import ResidualBlock
from models.costs import costs_of, count_macs
from models.initialize import he_normal, initialize
from models.network import HEAD, stage_of
from models.norms import NORMS


def build_undrawn(*arguments, **options):
    """A network as `build_model` returns it, with kernels of zeros: to draw those of large ones takes longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.layers.drawn_kernel", lambda shape, dtype=None: keras.ops.zeros(shape, dtype))
        return build_model(*arguments, **options)


@pytest.fixture(scope="module", params=list_models())
def network(request):
    """Each network of the table in turn, built once for all questions, for ten classes and small images: (name, model)."""
    pixels = 64 if request.param.endswith("-224") else 16
    return request.param, build_undrawn(request.param, (pixels, pixels, 3), 10)


@pytest.mark.parametrize("depth", [18, 20, 32, 34, 44, 56, 110])
def test_plain_and_residual_twins_are_one_architecture_but_for_the_shortcut(depth):
    assert architecture_of(f"plain{depth}") == architecture_of(f"resnet{depth}", shortcut="none")
    assert architecture_of(f"plain{depth}").depth == architecture_of(f"resnet{depth}").depth == depth


@pytest.mark.parametrize("depth", [18, 20])
def test_plain_and_residual_twins_differ_by_the_projections_alone(depth):
    residual, plain = (build_undrawn(f"{kind}{depth}", (32, 32, 3), 10) for kind in ("resnet", "plain"))
    only_residual = {v.path for v in residual.variables} - {v.path for v in plain.variables}
    assert only_residual and all("shortcut" in path for path in only_residual)
    assert {v.path for v in plain.variables} <= {v.path for v in residual.variables}


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"resnet6n2", "wrn16-4", "wrn28-10", "resnet50d-224"}))
def test_the_number_in_a_name_is_the_depth(name):
    digits = "".join(c if c.isdigit() else " " for c in name).split()
    if digits:  # Mini-ResNets have none
        assert architecture_of(name).depth == int(digits[0])


def test_a_mini_bottleneck_narrows_to_a_quarter():
    """Block study: 1x1 to a quarter, 3x3, 1x1 back; pre-activation networks end with norm and ReLU."""
    shapes = {v.path: tuple(v.shape) for v in build_model("mini-bottleneck-pre", (64, 64, 3), 25).variables}
    assert [shapes[f"stage2_block1/conv{i}/kernel"] for i in (1, 2, 3)] == [(1, 1, 32, 16), (3, 3, 16, 16), (1, 1, 16, 64)]
    assert "final_norm/gamma" in shapes and "stem_norm/gamma" in shapes
    assert "final_norm/gamma" not in {v.path for v in build_model("mini-bottleneck-post", (64, 64, 3), 25).variables}


def test_n_sets_the_blocks_of_each_stage():
    assert architecture_of("resnet6n2").depth == 14
    assert architecture_of("resnet6n2", blocks=9) == architecture_of("resnet6n2", n=9) == architecture_of("resnet56")
    assert architecture_of("resnet56", n=0) == architecture_of("resnet56")
    assert build_model("resnet6n2", (8, 8, 3), 10, n=1).count_params() == measure_model("resnet6n2", blocks=1)[2]
    with pytest.raises(UserError, match="n and blocks are one option"):
        architecture_of("resnet6n2", n=9, blocks=9)


def test_a_settings_default_leaves_the_model_its_own():
    own = {"norm": "default", "norm_groups": 0, "stem": "default", "attention": "default", "stochastic_depth": None}
    assert architecture_of("se-mxresnet20", **own) == MODELS["se-mxresnet20"]


def test_weight_paths_are_the_contract():
    paths = {variable.path for variable in build_model("se-mxresnext29_16x2d", (16, 16, 3), 4).variables}
    expected = {"stem_conv/kernel", "final_norm/gamma", "classifier/kernel", "classifier/bias"}
    expected |= {f"stage2_block1/norm{i}/moving_mean" for i in (1, 2, 3)}
    expected |= {f"stage2_block1/conv{i}/kernel" for i in (1, 2, 3)}
    expected |= {"stage2_block1/shortcut_conv/kernel", "stage2_block1/shortcut_norm/beta"}
    expected |= {"stage3_block2/attention/squeeze/kernel", "stage3_block2/attention/excite/kernel"}
    assert expected <= paths


@pytest.mark.parametrize("name", ["preresnet20", "resnet50d-224"])
def test_a_layers_name_says_its_stage(name):
    model = build_undrawn(name, (16, 16, 3), 4)
    stages = [stage_of(layer.name) for layer in model.layers[1:]]
    blocks = [
        (stage, layer.name) for stage, layer in zip(stages, model.layers[1:], strict=True) if isinstance(layer, ResidualBlock)
    ]
    assert all(name.startswith(f"stage{stage}_") for stage, name in blocks)
    first, after = stages.index(blocks[1][0]), stages.index(None)
    assert set(stages[: first + 1]) == {1} and set(stages[after:]) == {None}
    assert {weight.path for weight in model.layers[-1].variables} == {f"{HEAD}kernel", f"{HEAD}bias"}
    assert stage_of("stage10_block2/conv1/kernel") == 10


def test_names_match_wildcards_in_natural_order():
    assert list_models("se-*") == [f"se-mxresnet{n}" for n in (20, 32, 44, 56)] + [
        f"se-mxresnext{n}_16x2d" for n in (29, 47, 65, 83)
    ]
    assert set(list_models()) == set(MODELS)


def test_an_unknown_model_is_named_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'xresnet20'"):
        build_model("xresnet21", (32, 32, 3), 10)


def test_every_weight_of_every_model_gets_a_gradient(network):
    _, model = network
    images = torch.randn(4, *model.input_shape[1:], generator=torch.Generator().manual_seed(0))
    silent = {weight.path for weight in model.trainable_variables}
    for seed in range(6):  # a squeeze to one ReLU unit can be dead under one seed, not under all
        initialize(model, seed)
        model.zero_grad()
        logits = model(images, training=True)
        assert logits.shape == (4, 10)
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
        for weight in model.trainable_variables:
            assert torch.isfinite(weight.value.grad).all(), weight.path
        silent -= {weight.path for weight in model.trainable_variables if weight.value.grad.abs().max() > 0}
        if not silent:
            return
    raise AssertionError(f"no gradient for {silent}")


def test_every_description_tells_what_its_network_costs(network):
    name, model = network
    assert_counts_are_those_of_the_network(model, name)


def test_macs_are_half_of_the_flops_that_torch_counts(network):
    assert_macs_are_half_of_the_flops(network[1])
    assert_every_weight_is_counted(network[1])


def assert_macs_are_half_of_the_flops(model):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *model.input_shape[1:]), training=False)
    assert count_macs(model) == counter.get_total_flops() / 2


def assert_every_weight_is_counted(model):
    assert sum(cost.parameters for cost in costs_of(model).values()) == model.count_params()


# The smallest of each family; the others differ from one of these in the number of blocks alone.
NATIVE = ["resnet20", "plain20", "preresnet20", "resnet18", "preresnet50", "resnet18-224", "resnet50d-224", "mini-bottleneck-pre"]
NATIVE += ["wrn16-4", "xresnet20", "xresnet29", "se-mxresnext29_16x2d"]


@pytest.mark.parametrize("name", NATIVE)
def test_every_family_goes_forward_and_backward_at_its_native_size(name):
    size = MODELS[name].image_size
    model = build_undrawn(name, (size, size, 3), 5, blocks=1)
    initialize(model, 0)
    images = torch.randn(2, size, size, 3, generator=torch.Generator().manual_seed(0))
    logits = model(images, training=True)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    assert logits.shape == (2, 5)
    assert all(torch.isfinite(weight.value.grad).all() for weight in model.trainable_variables)


@pytest.mark.parametrize("name", ["resnet20", "plain20", "preresnet20", "resnet50d-224", "se-mxresnet20", "xresnext29_16x2d"])
def test_a_model_comes_back_from_its_config(name):
    model = build_model(name, (13, 13, 3), 7, norm="group", attention="cbam", shortcut="zero", stochastic_depth=0.5, blocks=2)
    twin = keras.Model.from_config(model.get_config())
    twin.set_weights(model.get_weights())
    images = np.random.default_rng(0).standard_normal((2, 13, 13, 3), "float32")
    np.testing.assert_array_equal(model.predict_on_batch(images), twin.predict_on_batch(images))


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "none"},
        {"activation": "gelu"},
        {"activation": "silu", "attention": "se"},
        {"attention": "cbam", "norm": "batch-instance"},
        {"shortcut": "zero", "stochastic_depth": 0.5},
        {"shortcut": "none", "norm": "layer"},
        {"stem": "deep", "activation": "mish"},
    ],
)
def test_parts_can_be_overridden(options):
    model = build_model("xresnet20", (8, 8, 1), 3, **options)
    assert model(torch.zeros(2, 8, 8, 1)).shape == (2, 3)


@pytest.mark.parametrize(
    ("part", "misspelt", "meant"),
    [
        ("stem", "conv_norm", "conv-norm"),
        ("order", "psot", "post"),
        ("shortcut", "projektion", "projection"),
        ("shortcut", "identity", ""),  # of a block that changes no shape; of a network it would be that of none
        ("head", "average+maximum", "average+max"),
        ("padding", "symetric", "symmetric"),
        ("norm", "grup", "group"),
        ("activation", "Relu", "relu"),
        ("attention", "sse", "se"),
    ],
)
def test_a_misspelt_part_is_named_with_the_nearest_and_what_is_allowed(part, misspelt, meant):
    said = rf"{part}(: unknown value)? '{re.escape(misspelt)}'.*\(allowed: .*{re.escape(meant)}"
    for ask in (measure_model, lambda *name, **options: build_model(*name, (8, 8, 3), 3, **options)):
        with pytest.raises(UserError, match=said) as caught:
            ask("resnet20", **{part: misspelt})
        assert not meant or f"did you mean '{meant}'" in str(caught.value)


def test_stochastic_depth_needs_a_skip_connection():
    """Without one, what skips a branch would be an image of zeros."""
    with pytest.raises(
        UserError, match=r"plain20 can't be built so: stochastic_depth=0\.5 needs a skip connection, received shortcut='none'"
    ):
        build_model("plain20", (8, 8, 3), 3, stochastic_depth=0.5)


def test_a_part_that_does_not_fit_is_one_line():
    with pytest.raises(UserError, match="resnet20 can't be built so: groups=7 must divide channels=16"):
        build_model("resnet20", (8, 8, 3), 3, norm="group", norm_groups=7)


def test_logits_stay_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_model("se-mxresnet20", (8, 8, 3), 3)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("stage1_block1").compute_dtype == "bfloat16"
    assert model(torch.zeros(2, 8, 8, 3)).dtype == torch.float32
    assert {weight.value.dtype for weight in model.variables} == {torch.float32}


def test_initial_kernels_have_the_variance_of_he_et_al():
    kernel = he_normal((3, 3, 64, 256), generator(0, "kernel"))
    assert abs(kernel.std() * np.sqrt(9 * 64 / 2) - 1) < 0.01
    assert np.abs(kernel).max() <= 2 * np.sqrt(2 / (9 * 64)) / 0.8796
    assert kernel.dtype == np.float32


ALTERED = [  # every part that a network can have, at sizes that do and don't divide evenly
    *(("norm", norm) for norm in NORMS),
    *(("attention", attention) for attention in ATTENTIONS),
    *((part, value) for part in ("stem", "order", "shortcut", "head", "padding") for value in PARTS[part]),
    ("stochastic_depth", 0.5),
]


@pytest.mark.parametrize("base", ["resnet20", "xresnext29_16x2d"])
@pytest.mark.parametrize(("part", "value"), ALTERED)
def test_a_description_tells_what_a_network_costs(base, part, value):
    options = {"blocks": 1, part: value}
    model = build_model(base, (13, 13, 3), 7, **options)
    assert_counts_are_those_of_the_network(model, base, **options)
    assert_macs_are_half_of_the_flops(model)
    if part != "stochastic_depth":  # which counts its draws in a variable of each block
        assert_every_weight_is_counted(model)


def assert_counts_are_those_of_the_network(model, name, **options):
    _, _, *counted = measure_model(name, model.input_shape[1], model.output_shape[-1], **options)
    assert counted == [model.count_params(), count_macs(model)]


def test_what_can_not_be_built_can_not_be_counted():
    for options in ({"norm": "group", "norm_groups": 7}, {"groups": 3, "bottleneck": 0.5}):
        for ask in (measure_model, lambda name, **options: build_model(name, (8, 8, 3), 10, **options)):
            with pytest.raises(UserError, match="can't be built so: groups="):
                ask("resnet20", **options)


def test_listing_networks_imports_no_deep_learning_library():
    program = "import sys, dispatcher; sys.argv = ['dispatcher.py']; dispatcher.main(); print(*sys.modules)"
    process = run_python("-c", program, is_new=True)
    assert process.returncode == 0, process.stderr
    assert not {"keras", "torch", "jax", "tensorflow", "numpy"} & set(process.stdout.splitlines()[-1].split())


def test_the_command_lists_what_is_measured():
    process = run_python(ROOT / "dispatcher.py", "*xresnet20", "--image-size", "16", "--n", "1")
    assert process.returncode == 0, process.stderr
    lines = [line.replace(",", "").split() for line in process.stdout.splitlines()[1:]]
    assert lines == [[name, *map(str, measure_model(name, 16, blocks=1))] for name in list_models("*xresnet20")]
