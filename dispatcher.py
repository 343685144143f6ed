"""Model names: the one table from a name to an architecture. `python dispatcher.py [PATTERN]` lists them.

Nothing here imports a deep-learning library until a model is built; what a network costs is counted without.
"""

import fnmatch
import re
from contextlib import contextmanager
from dataclasses import replace

from foundation.checks import fault_of
from foundation.command_line import Parser
from foundation.errors import UserError, unknown
from foundation.scripts import run_script
from foundation.settings import SETTINGS
from models.architecture import mini_resnet, preresnet_cifar, resnet, resnet_cifar, wide_resnet, xresnet, xresnext
from models.counts import count

N = {6 * n + 2: n for n in (3, 5, 7, 9, 18)}  # depth: residual blocks in each of three stages
STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
BOTTLENECK = {18: None, 34: None, 50: 1 / 4}
MOST_CLASSES = 100_000  # that a listed network is built for
LARGE = {"stem": "imagenet", "image_size": 224}

MODELS = (
    {"resnet6n2": resnet_cifar(2)}
    | {f"resnet{depth}": resnet_cifar(n) for depth, n in N.items()}
    | {f"plain{depth}": resnet_cifar(n, shortcut="none") for depth, n in N.items()}
    | {f"preresnet{depth}": preresnet_cifar(n) for depth, n in N.items()}
    | {f"resnet{depth}": resnet(STAGES[depth], BOTTLENECK[depth]) for depth in STAGES}
    | {f"plain{depth}": resnet(STAGES[depth], shortcut="none") for depth in (18, 34)}
    | {f"preresnet{depth}": resnet(STAGES[depth], BOTTLENECK[depth], stem="conv", order="pre") for depth in STAGES}
    | {f"resnet{depth}-224": resnet(STAGES[depth], BOTTLENECK[depth], **LARGE) for depth in STAGES}
    | {"resnet50d-224": resnet(STAGES[50], 1 / 4, **LARGE | {"stem": "deep", "shortcut": "pool"})}
    | {f"mini-basic-{order}": mini_resnet(order) for order in ("post", "pre")}
    | {f"mini-bottleneck-{order}": mini_resnet(order, 1 / 4) for order in ("post", "pre")}
    | {"wrn16-4": wide_resnet(2, 4), "wrn28-10": wide_resnet(4, 10)}
    | {f"xresnet{depth}": xresnet(n) for depth, n in N.items() if n < 18}
    | {f"mxresnet{depth}": xresnet(n, activation="mish") for depth, n in N.items() if n < 18}
    | {f"se-mxresnet{depth}": xresnet(n, activation="mish", attention="se") for depth, n in N.items() if n < 18}
    | {"xresnet29": xresnext(3, groups=1, bottleneck=1 / 4)}
    | {f"xresnext29_{c}x{d}d": xresnext(3, groups=c, bottleneck=c * d / 64) for c, d in ((2, 10), (4, 6))}
    | {f"xresnext{9 * n + 2}_16x2d": xresnext(n) for n in (3, 5, 7, 9)}
    | {f"se-mxresnext{9 * n + 2}_16x2d": xresnext(n, activation="mish", attention="se") for n in (3, 5, 7, 9)}
)


def list_models(pattern="*") -> list[str]:
    """Return the names that match a shell wildcard, with numbers in natural order."""
    names = fnmatch.filter(MODELS, pattern)
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def architecture_of(name, **options):
    """Return the architecture of a name, with fields overridden: `norm=`, `activation=`, and `n=` or, as the field is called,
    `blocks=`.

    Raises UserError for an unknown name and for fields that can't be.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS, "python dispatcher.py lists all")
    with _one_line(name):
        return replace(MODELS[name], **_as_fields(options))


OF_ARCHITECTURE = [each for each in SETTINGS.values() if each.part]  # settings that override a field of the architecture


def _as_fields(options):
    """Return options by the names of the architecture's fields; each may be named as its setting is, and have that's default.

    Raises UserError for a value that the setting can't have.
    """
    fields = dict(options)
    for each in OF_ARCHITECTURE:
        if each.name not in fields:
            continue
        value = fields.pop(each.name)
        if each.part in fields:
            raise UserError(f"{each.name} and {each.part} are one option: give one of them")
        if value == each.shipped:
            continue
        if fault := fault_of(each.name, value):
            raise UserError(fault)
        fields[each.part] = value
    return fields


def architecture_options(config):
    """Return the fields of the model's architecture that a config overrides; other fields keep the model's values."""
    return {each.part: getattr(config, each.name) for each in OF_ARCHITECTURE if getattr(config, each.name) != each.shipped}


def settled(config):
    """Return {setting: value in the network of a config}: the config's or else the model's own. Raises UserError."""
    architecture = architecture_of(config.model, **architecture_options(config))
    return {each.name: getattr(architecture, each.part) for each in OF_ARCHITECTURE}


def check_model(config):
    """Raise a UserError if a config's model is unknown or can't be changed as the config asks."""
    settled(config)


def build_model(name, input_shape, classes, **options):
    """Build a `keras.Model` from images `(N, *input_shape)` to logits `(N, classes)`.

    Options override fields of the architecture, named as these or as the settings are (`blocks=` or `n=`). Raises UserError for
    an unknown name or for a part that does not fit, such as groups that do not divide channels.
    """
    architecture = architecture_of(name, **options)
    from models.network import build_network

    with _one_line(name):
        return build_network(architecture, input_shape, classes, name)


def measure_model(name, image_size=0, classes=10, **options):
    """Return (depth, height and width in pixels, parameters, MACs for one image) of a network for RGB images; builds nothing.

    Parameters include moving statistics. With `image_size` 0 images have the size that the network was made for. Raises UserError
    as `build_model` does.
    """
    architecture = architecture_of(name, **options)
    pixels = image_size or architecture.image_size
    with _one_line(name):
        return architecture.depth, pixels, *count(architecture, pixels, classes)


@contextmanager
def _one_line(name):
    """Turn a ValueError of layers and architectures about their parts into a UserError of one line."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{name} can't be built so: {error}") from error


def main():
    parser = Parser(description="Lists model names with depth, parameters and multiply-accumulates.")
    parser.add_argument("pattern", nargs="?", default="*", help="names to list, with shell wildcards, such as 'se-*20'")
    parser.add_argument(
        "--image-size", type=int, default=0, help="height and width in pixels (default: what a network was made for)"
    )
    parser.add_argument("--n", type=int, default=0, help="residual blocks in each stage (default: the model's own)")
    parser.add_argument("--classes", type=int, default=10, help="number of classes (default: 10)")
    arguments = parser.parse_args()
    names = list_models(arguments.pattern)
    if not names:
        raise unknown("model", arguments.pattern, MODELS, "python dispatcher.py lists all")

    faults = [fault_of(name, getattr(arguments, name)) for name in ("image_size", "n")]
    if not 1 <= arguments.classes <= MOST_CLASSES:
        faults.append(f"classes is {arguments.classes}, allowed: from 1 to {MOST_CLASSES:,}")
    if any(faults):
        raise UserError("; ".join(filter(None, faults)))

    print(f"{'model':24} {'depth':>5} {'pixels':>6} {'parameters':>12} {'MACs':>14}")
    for name in names:
        options = {"blocks": arguments.n} if arguments.n else {}
        depth, pixels, parameters, macs = measure_model(name, arguments.image_size, arguments.classes, **options)
        print(f"{name:24} {depth:5d} {pixels:6d} {parameters:12,d} {macs:14,d}", flush=True)


if __name__ == "__main__":
    run_script(main)
