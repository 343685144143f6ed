"""Norms folded into convolutions: the same function, and no norm left where one can go."""

import numpy as np
import pytest
import torch
from trained_networks import NETWORKS, trained

from dispatcher import build_model
from models.folding import fold_norms
from models.layers import layers_of
from models.norms import Folded, Norm

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize(("name", "options"), NETWORKS.values(), ids=NETWORKS)
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
    return [layer.path for layer in layers_of(model) if isinstance(layer, Norm) and not isinstance(layer, Folded)]


def test_only_norms_that_directly_follow_a_convolution_go():
    assert norms_of(fold_norms(build_model("resnet20", (8, 8, 3), 4))) == []
    pre_activation = fold_norms(build_model("preresnet50", (8, 8, 3), 4, blocks=2))
    assert all(path.endswith(("norm1", "final_norm")) for path in norms_of(pre_activation))
    assert len(norms_of(pre_activation)) == 4 * 2 + 1


@pytest.mark.parametrize("norm", ["instance", "batch-instance", "layer", "group"])
def test_norms_with_statistics_of_the_image_stay(norm):
    model = build_model("resnet20", (8, 8, 3), 4, norm=norm, blocks=1)
    assert len(norms_of(fold_norms(model))) == len(norms_of(model)) == 9
