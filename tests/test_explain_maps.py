"""Class activation maps: equal to their formulas computed by hooks, the same on every backend, for every kind of network."""

import keras
import numpy as np
import pytest
import torch
from conftest import run_python

from dispatcher import build_model
from foundation.errors import UserError
from lab.explanations import choice
from lab.explanations.gradients import features_and_gradients
from lab.explanations.layers import choose_layers, layers_by_name
from lab.explanations.maps import METHODS, class_maps, enlarged
from models.initialize import initialize

pytestmark = pytest.mark.numeric

IMAGES = np.random.default_rng(0).standard_normal((5, 24, 24, 3)).astype("float32")
CLASSES = np.array([0, 3, 2, 2, 1])
# One of each kind that a map could stumble over: order, attention, groups, no skip, stem with pooling, two poolings at the head.
KINDS = {
    "resnet20": {"blocks": 1},
    "preresnet20": {"blocks": 1},
    "plain20": {"blocks": 1},
    "se-mxresnet20": {"blocks": 1},
    "xresnext29_16x2d": {"blocks": 1},
    "resnet50d-224": {"blocks": 1},
    "resnet6n2": {"blocks": 1, "norm": "group", "attention": "cbam", "stochastic_depth": 0.5, "shortcut": "zero"},
}


def network(name="resnet20", **options):
    model = build_model(name, IMAGES.shape[1:], 4, **(KINDS[name] | options))
    initialize(model, 3)
    return model


def hooked(model, layer):
    """Yields (A, G) of a layer image by image, `(h, w, C)` float64, from a hook on torch's module."""
    for image, label in zip(IMAGES, CLASSES, strict=True):
        seen = []

        def keep(module, arguments, output, seen=seen):
            seen.append(output.detach().clone().requires_grad_())
            return seen[0].clone()  # the network overwrites what it is given

        handle = layer.register_forward_hook(keep)
        model(image[None], training=False)[0, label].backward()
        handle.remove()
        yield seen[0].numpy(force=True)[0].astype("float64"), seen[0].grad[0].numpy().astype("float64")


def by_formula(A, G, method):
    """The map of one image, channel by channel as the papers write it."""
    count = A.shape[0] * A.shape[1]
    found = np.zeros(A.shape[:2])
    for a, g in zip(np.moveaxis(A, 2, 0), np.moveaxis(G, 2, 0), strict=True):
        if method == "grad-cam":
            found += g.sum() / count * a
        elif method == "hirescam":
            found += g * a
        elif method == "layercam":
            found += np.maximum(g, 0) * a
        else:
            below = 2 * g**2 + a.sum() * g**3
            alpha = np.divide(g**2, below, out=np.zeros_like(g), where=below != 0)
            found += (alpha * np.maximum(g, 0)).sum() * a
    found = np.maximum(found, 0)
    return found / found.max() if found.max() else found


def test_every_method_that_may_be_chosen_has_its_formula():
    assert tuple(METHODS) == choice.METHODS


@pytest.mark.parametrize("name", KINDS)
def test_maps_equal_their_formulas_computed_by_hooks(name):
    model = network(name)
    layers = choose_layers(model)
    seen = list(hooked(model, layers[0]))
    for method in METHODS:
        wanted = np.array([by_formula(A, G, method) for A, G in seen])
        assert wanted.max() == 1
        np.testing.assert_allclose(class_maps(model, IMAGES, CLASSES, layers, method), wanted, atol=1e-5, err_msg=method)


@pytest.mark.parametrize("name", KINDS)
def test_watching_a_network_does_not_change_it(name):
    model = network(name)
    layers = list(layers_by_name(model).values())
    before = keras.ops.convert_to_numpy(model(IMAGES, training=False))
    weights = [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]
    features, gradients = features_and_gradients(model, IMAGES, CLASSES, layers)
    assert [f.shape for f in features] == [g.shape for g in gradients]
    assert all(np.isfinite(keras.ops.convert_to_numpy(g)).all() for g in gradients)
    assert not any("call" in vars(layer) for layer in layers)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(IMAGES, training=False)), before)
    for variable, weight in zip(model.variables, weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), weight)


def test_the_gradient_inside_a_block_is_that_of_a_small_change():
    """At a convolution within a block: the logit moves as the gradient says."""
    model = network("se-mxresnet20", activation="silu")
    layer = layers_by_name(model)["stage2_block1/conv1"]
    (features,), (gradient,) = features_and_gradients(model, IMAGES, CLASSES, [layer])
    change = 2e-3 * torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    logits = []
    for sign in (-1, 1):

        def changed(each, call, x, sign=sign):
            return call(x) + sign * change if each is layer else call(x)

        logits.append(model.run(IMAGES, changed)[range(5), CLASSES].detach())
    np.testing.assert_allclose((logits[1] - logits[0]) / 2, (gradient * change).sum((1, 2, 3)), rtol=1e-2, atol=3e-6)


def test_the_last_stage_is_its_2n_convolutions_averaged():
    model = network(blocks=2)
    layers = choose_layers(model, ["last-stage"])
    assert [layer.path for layer in layers] == [f"stage3_block{b}/conv{c}" for b in (1, 2) for c in (1, 2)]
    single = [class_maps(model, IMAGES, CLASSES, [layer], "grad-cam") for layer in layers]
    mean = np.mean(single, axis=0)
    ours = class_maps(model, IMAGES, CLASSES, layers, "grad-cam")
    assert ours.shape == (5, 6, 6)
    np.testing.assert_allclose(ours, mean / mean.max((1, 2), keepdims=True), atol=1e-6)


def test_a_layer_that_is_named_twice_counts_once():
    model = network()
    twice = choose_layers(model, ["last-stage", "stage3_block1/conv2", "last-stage"])
    assert twice == choose_layers(model, ["last-stage"])
    assert class_maps(model, IMAGES, CLASSES, twice, "grad-cam").shape == (5, 6, 6)


def test_maps_of_several_resolutions_meet_at_the_finest():
    model = network()
    layers = choose_layers(model, ["stage1_block1", "stage3_block1"])
    assert class_maps(model, IMAGES, CLASSES, layers, "layercam").shape == (5, 24, 24)


def test_a_map_does_not_depend_on_the_batch_it_is_in():
    model = network("preresnet20")
    together = class_maps(model, IMAGES, CLASSES, choose_layers(model), "grad-cam")
    alone = [class_maps(model, IMAGES[i : i + 1], CLASSES[i : i + 1], choose_layers(model), "grad-cam")[0] for i in range(5)]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_map_without_evidence_is_zero_and_not_a_fault():
    model = network()
    for variable in model.get_layer("classifier").variables:
        variable.assign(np.zeros(variable.shape))
    for method in METHODS:
        assert not class_maps(model, IMAGES, CLASSES, choose_layers(model), method).any()


def test_bfloat16_networks_have_maps_too():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    exact = network()
    for variable, other in zip(model.variables, exact.variables, strict=True):
        variable.assign(other)
    for layer in (["stage3_block1"], ["last-stage"]):
        ours, wanted = (class_maps(m, IMAGES, CLASSES, choose_layers(m, layer), "grad-cam") for m in (model, exact))
        assert ours.dtype == np.float32 and np.abs(ours - wanted).mean() < 0.05


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_enlarging_keeps_a_maps_range_and_an_even_map_even(is_symmetric):
    maps = np.random.default_rng(0).random((2, 4, 4))
    large = enlarged(maps, 30, is_symmetric)
    assert large.shape == (2, 30, 30) and large.min() >= maps.min() - 1e-6 and large.max() <= maps.max() + 1e-6
    np.testing.assert_allclose(enlarged(np.ones((1, 4, 4)), 30, is_symmetric), 1, rtol=1e-6)
    np.testing.assert_allclose(enlarged(maps, 4, is_symmetric), maps, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "stride", "side"),
    [("resnet20", 4, 16), ("preresnet20", 4, 16), ("resnet50d-224", 32, 128), ("resnet18", 8, 28), ("resnet20", 4, 13)],
)
def test_a_feature_is_drawn_where_it_looks(name, stride, side):
    """A bright pixel in the middle of what a feature looks at, seen through kernels that weigh all alike: its map peaks there."""
    place = 2 * stride
    model = build_model(name, (side, side, 3), 4, blocks=1)
    for variable in model.variables:
        if variable.name == "kernel":
            variable.assign(np.full(variable.shape, 0.1, "float32"))
    image = np.zeros((1, side, side, 3), "float32")
    image[0, place, place] = 1
    (features,), _ = features_and_gradients(model, image, [0], choose_layers(model))
    seen = features.numpy(force=True)[..., 0]
    (seen,) = enlarged(seen - seen.min(), side, is_symmetric=True)
    assert np.unravel_index(seen.argmax(), seen.shape) == (place, place)


def test_an_unknown_layer_is_named_with_its_nearest():
    with pytest.raises(UserError, match="did you mean 'stage3_block1'"):
        choose_layers(network(), ["stage3_blok1"])


PROBE = """
import sys
from foundation import keras_defaults
import numpy as np
from dispatcher import build_model
from lab.explanations.layers import choose_layers
from lab.explanations.maps import METHODS, class_maps
from models.initialize import initialize

images = np.random.default_rng(0).standard_normal((5, 24, 24, 3)).astype("float32")
found = {}
for name, layers in (("resnet20", None), ("se-mxresnet20", ["stage2_block1", "last-stage"])):
    model = build_model(name, images.shape[1:], 4, blocks=1)
    initialize(model, 3)
    for method in METHODS:
        found[f"{name} {method}"] = class_maps(model, images, np.array([0, 3, 2, 2, 1]), choose_layers(model, layers), method)
np.savez(sys.argv[1], **found)
"""


@pytest.fixture(scope="module")
def torch_maps(tmp_path_factory):
    return maps_on("torch", tmp_path_factory.mktemp("maps"))


def maps_on(backend, folder):
    process = run_python("-c", PROBE, folder / f"{backend}.npz", backend=backend)
    assert process.returncode == 0, process.stderr
    return dict(np.load(folder / f"{backend}.npz"))


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_maps_are_the_same_on_every_backend(torch_maps, backend, tmp_path):
    others = maps_on(backend, tmp_path)
    for name, maps in torch_maps.items():
        np.testing.assert_allclose(others[name], maps, atol=1e-3, err_msg=name)
