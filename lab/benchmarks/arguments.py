"""Arguments that several measurements take, and what they mean."""

import dispatcher
from foundation.command_line import count

PRECISIONS = ("float32", "mixed_bfloat16")


def add_model(command):
    command.add_argument("--model", default="resnet20", help="python dispatcher.py lists all (default: %(default)s)")


def add_models(command, nargs="+"):
    command.add_argument("models", nargs=nargs, metavar="MODEL", help="names or shell wildcards, such as 'se-*20'")


def add_batch(command, default=128, meaning="images per step"):
    command.add_argument("--batch", type=count, default=default, help=f"{meaning} (default: %(default)s)")


def add_image_size(command, default=None):
    shown = "what a network was made for" if default is None else "%(default)s"
    command.add_argument("--image-size", type=count, default=default, help=f"height and width in pixels (default: {shown})")


def add_classes(command):
    command.add_argument("--classes", type=count, default=10, help="number of classes (default: %(default)s)")


def add_steps(command, default, meaning):
    command.add_argument("--steps", type=count, default=default, help=f"{meaning} (default: %(default)s)")


def add_repetitions(command, default=5):
    command.add_argument("--repetitions", type=count, default=default, help="turns of each contestant (default: %(default)s)")


def add_processes(command, default, meaning):
    command.add_argument("--processes", type=count, default=default, help=f"{meaning} (default: %(default)s)")


def add_precision(command):
    command.add_argument("--precision", choices=PRECISIONS, default="mixed_bfloat16", help="default: %(default)s")


def network_of(arguments):
    """Return what `make_contestant` takes: {"model", "image_size", "classes", "batch"}."""
    return {name: getattr(arguments, name) for name in ("model", "image_size", "classes", "batch")}


def matching_models(patterns) -> list[str]:
    """Return the models whose names match any of the patterns, in their order. Raises UserError if one matches none."""
    for pattern in patterns:
        if not dispatcher.list_models(pattern):
            dispatcher.architecture_of(pattern)  # raises with the nearest match
    return list(dict.fromkeys(name for pattern in patterns for name in dispatcher.list_models(pattern)))
