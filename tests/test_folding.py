"""Norms folded into convolutions: the same function, and no norm left where one can go."""

import numpy as np
import pytest
import torch

from dispatcher import build_model
from models.folding import fold_norms
from models.initialize import initialize
from models.norms import NORMS, Folded, Norm

pytestmark = pytest.mark.numeric

# A member of each family, of one block a stage, and what else a flag can ask for.
FAMILIES = [
    ("resnet20", {"blocks": 1}),
    ("plain20", {"blocks": 1}),
    ("preresnet20", {"blocks": 1}),
    ("resnet50", {"blocks": 1}),
    ("resnet18-224", {"blocks": 1}),
    ("resnet50d-224", {"blocks": 1}),
    ("mini-bottleneck-pre", {"blocks": 1}),
    ("wrn16-4", {"blocks": 1}),
    ("xresnet20", {"blocks": 1}),
    ("mxresnet20", {"blocks": 1}),
    ("se-mxresnext29_16x2d", {"blocks": 1}),
    ("xresnet29", {"blocks": 1}),
    ("resnet20", {"blocks": 1, "shortcut": "zero", "attention": "cbam", "stochastic_depth": 0.5}),
    *(("resnet6n2", {"blocks": 1, "norm": norm}) for norm in NORMS if norm != "batch"),
]
NAMES = [" ".join([name, *(f"{key}={value}" for key, value in options.items() if key != "blocks")]) for name, options in FAMILIES]


def trained(name, size=32, **options):
    """A network whose weights and statistics look as if it had been trained."""
    model = build_model(name, (size, size, 3), 7, **options)
    initialize(model, 0)
    random = np.random.default_rng(0)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance", "gate"):
            variable.assign(random.uniform(0.4, 0.9, variable.shape))
        elif variable.name in ("beta", "moving_mean", "bias"):
            variable.assign(random.normal(0, 0.3, variable.shape))
    return model


@pytest.mark.parametrize(("name", "options"), FAMILIES, ids=NAMES)
def test_a_folded_network_computes_the_same(name, options):
    model = trained(name, **options)
    images = torch.randn(3, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    before = [variable.numpy().copy() for variable in model.variables]
    with torch.no_grad():
        plain, folded = model(images, training=False), fold_norms(model)(images, training=False)
    assert (plain - folded).abs().max() <= 1e-4 * max(1.0, float(plain.abs().max()))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def norms_of(model):
    return [layer.path for layer in model._flatten_layers() if isinstance(layer, Norm) and not isinstance(layer, Folded)]


def test_only_norms_that_directly_follow_a_convolution_go():
    assert norms_of(fold_norms(build_model("resnet20", (8, 8, 3), 4))) == []
    pre_activation = fold_norms(build_model("preresnet50", (8, 8, 3), 4, blocks=2))
    assert all(path.endswith(("norm1", "final_norm")) for path in norms_of(pre_activation))
    assert len(norms_of(pre_activation)) == 4 * 2 + 1


@pytest.mark.parametrize("norm", ["instance", "batch-instance", "layer", "group"])
def test_norms_with_statistics_of_the_image_stay(norm):
    model = build_model("resnet20", (8, 8, 3), 4, norm=norm, blocks=1)
    assert len(norms_of(fold_norms(model))) == len(norms_of(model)) == 9
