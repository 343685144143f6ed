"""Networks of every family that look as if they had been trained."""

import numpy as np

from dispatcher import build_model
from models.initialize import initialize
from models.norms import NORMS

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
