"""Small networks with every part, and networks that look as if they had been trained."""

import numpy as np

from dispatcher import build_model
from models.initialize import initialize
from models.norms import NORMS

# Every part that a network can have, in few small networks, since what compiles a network takes its time for each layer.
# Of one block a stage: {what it shows: (model, other options)}
SMALL = {"filters": (8, 16), "stem_filters": 8, "blocks": 1}
NETWORKS = {
    "basic blocks": ("resnet20", SMALL | {"activation": "silu"}),
    "no shortcuts": ("plain20", SMALL),
    "norms first": ("preresnet20", SMALL | {"activation": "gelu"}),
    "deep stem, bottlenecks, pooling": ("resnet50d-224", SMALL | {"activation": "silu"}),
    "large stem": ("resnet18-224", SMALL | {"activation": "mish"}),
    "the study's, with squeeze and excitation": ("se-mxresnet20", SMALL),
    "the study's, grouped": ("se-mxresnext29_16x2d", SMALL | {"filters": (32, 64), "stem_filters": 16}),
    "CBAM, stochastic depth": (
        "resnet6n2",
        SMALL | {"attention": "cbam", "stochastic_depth": 0.5, "shortcut": "zero", "activation": "silu"},
    ),
    **{
        f"norm {norm}": ("resnet6n2", SMALL | {"filters": (16,), "norm": norm, "activation": "silu"})
        for norm in NORMS
        if norm != "batch"
    },
}
# All these parts in fewer networks, for what takes seconds for each of them: a norm knows nothing of the structure around it.
WITHIN = {
    "no shortcuts": "none",
    "deep stem, bottlenecks, pooling": "layer",
    "large stem": "instance",
    "the study's, with squeeze and excitation": "batch-instance",
    "the study's, grouped": "group",
    "CBAM, stochastic depth": "evonorm-s0",
}
FEW_NETWORKS = {
    name: (model, options | ({"norm": WITHIN[name]} if name in WITHIN else {}))
    for name, (model, options) in NETWORKS.items()
    if name.removeprefix("norm ") not in WITHIN.values()
}


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
