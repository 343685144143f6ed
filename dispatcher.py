"""Model names: the one table from a name to an architecture. `python dispatcher.py [PATTERN]` lists them.

Nothing here imports a deep-learning library until a model is built.
"""

import argparse
import fnmatch
import re
from dataclasses import replace

from errors import run_script, unknown
from models.architecture import resnet_cifar, xresnet, xresnext

MODELS = {
    "resnet14": resnet_cifar(2),
    "resnet20": resnet_cifar(3),
    "xresnet20": xresnet(3),
    "xresnet32": xresnet(5),
    "xresnet44": xresnet(7),
    "xresnet56": xresnet(9),
    "mxresnet20": xresnet(3, activation="mish"),
    "mxresnet32": xresnet(5, activation="mish"),
    "mxresnet44": xresnet(7, activation="mish"),
    "mxresnet56": xresnet(9, activation="mish"),
    "se-mxresnet20": xresnet(3, activation="mish", attention="se"),
    "se-mxresnet32": xresnet(5, activation="mish", attention="se"),
    "se-mxresnet44": xresnet(7, activation="mish", attention="se"),
    "se-mxresnet56": xresnet(9, activation="mish", attention="se"),
    "xresnet29": xresnext(3, groups=1, bottleneck=1 / 4),
    "xresnext29_16x2d": xresnext(3),
    "xresnext47_16x2d": xresnext(5),
    "xresnext65_16x2d": xresnext(7),
    "xresnext83_16x2d": xresnext(9),
    "se-mxresnext29_16x2d": xresnext(3, activation="mish", attention="se"),
    "se-mxresnext47_16x2d": xresnext(5, activation="mish", attention="se"),
    "se-mxresnext65_16x2d": xresnext(7, activation="mish", attention="se"),
    "se-mxresnext83_16x2d": xresnext(9, activation="mish", attention="se"),
}


def list_models(pattern="*"):
    """The names that match a shell wildcard, numbers in their natural order."""
    names = fnmatch.filter(MODELS, pattern)
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def architecture_of(name, **options):
    """The architecture behind a name, with fields overridden (`norm=`, `activation=`). Raises UserError for an unknown name."""
    if name not in MODELS:
        raise unknown("model", name, MODELS, "python dispatcher.py lists all")
    return replace(MODELS[name], **options)


def build_model(name, input_shape, classes, **options):
    """A `keras.Model` from images `(N, *input_shape)` to logits `(N, classes)`; options override fields of the architecture."""
    architecture = architecture_of(name, **options)
    import config  # noqa: F401  selects the backend, before Keras is imported
    from models.network import build_network

    return build_network(architecture, input_shape, classes, name)


def main():
    parser = argparse.ArgumentParser(description="Lists model names with depth, parameters and multiply-accumulates.")
    parser.add_argument("pattern", nargs="?", default="*", help="shell wildcard, such as 'se-*20'")
    parser.add_argument("--image-size", type=int, default=32, help="height and width in pixels (default: 32)")
    parser.add_argument("--classes", type=int, default=10, help="number of classes (default: 10)")
    arguments = parser.parse_args()
    names = list_models(arguments.pattern)
    if not names:
        raise unknown("model", arguments.pattern, MODELS, "python dispatcher.py lists all")

    import config  # noqa: F401  selects the backend, before Keras is imported
    from models.network import count_macs

    print(f"{'model':24} {'depth':>5} {'parameters':>12} {'MACs':>14}")
    for name in names:
        model = build_model(name, (arguments.image_size, arguments.image_size, 3), arguments.classes)
        print(f"{name:24} {MODELS[name].depth:5d} {model.count_params():12,d} {count_macs(model):14,d}")


if __name__ == "__main__":
    run_script(main)
