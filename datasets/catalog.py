"""Data set names: the one table from a name to its loader. Loaders are imported when they are asked for."""

import re
from importlib import import_module

from foundation.errors import UserError, is_of_the_system, unknown
from foundation.paths import typed_path

# Each loader takes a Request and returns a Source.
LOADERS = {
    "digits": "datasets.digits",
    "cifar10": "datasets.tensorflow_datasets",
    "cifar100": "datasets.tensorflow_datasets",
    "tiny_imagenet25": "datasets.tiny_imagenet",
    "tiny_imagenet200": "datasets.tiny_imagenet",
    "indian_birds": "datasets.indian_birds",
    "shapes": "datasets.shapes",
    "tfds": "datasets.tensorflow_datasets",
    "folder": "datasets.folder",
}
NEEDS_ARGUMENT = {"tfds": "tfds:NAME", "folder": "folder:PATH"}
TAKES_ARGUMENT = {*NEEDS_ARGUMENT, "shapes", "digits"}  # shapes:CLASSES, digits:FIRST-LAST


# (train images after val is split off, height and width in pixels, classes) of sets whose size is known before loading.
EXPECTED = {
    "digits": (1_437, 32, 10),
    "cifar10": (45_000, 32, 10),
    "cifar100": (45_000, 32, 100),
    "tiny_imagenet25": (11_250, 64, 25),
    "tiny_imagenet200": (90_000, 64, 200),
    "indian_birds": (30_000, 256, 25),
    "shapes": (5_400, 64, 25),
}


def expected(name, image_size=0):
    """Return (train images, height and width, classes) of a data set before it is loaded, or None if that is not known."""
    kind, _, argument = name.partition(":")
    if kind == "folder":
        return _measured(argument, image_size)
    if kind not in EXPECTED:
        return None
    images, pixels, classes = EXPECTED[kind]
    if argument:
        parsed = import_module(LOADERS[kind]).parse(argument)
        chosen = parsed[0] if kind == "shapes" else parsed[1] - parsed[0] + 1
        images, classes = images * chosen // classes, chosen
    return images, image_size or pixels, classes


def _measured(folder, image_size):
    from datasets.folder import measure

    try:
        return measure(folder, image_size)
    except (UserError, OSError):  # the folder may lie on another machine or be unreadable
        return None


def check_name(name):
    """Raise a UserError unless `load` knows the name."""
    kind, colon, argument = name.partition(":")
    shown = [NEEDS_ARGUMENT.get(known, known) for known in LOADERS]
    if kind not in LOADERS and (re.match(r"[./~]|[A-Za-z]:[\\/]", name) or typed_path(name).is_dir()):
        raise UserError(f"data set '{name}' is a path; did you mean 'folder:{name}'?")
    if kind not in LOADERS or (colon and kind not in TAKES_ARGUMENT):
        raise unknown("data set", name, shown)
    if kind in NEEDS_ARGUMENT and not argument:
        raise UserError(f"data set '{name}' lacks its part after the colon: {NEEDS_ARGUMENT[kind]}")
    if argument and kind not in NEEDS_ARGUMENT:
        import_module(LOADERS[kind]).parse(argument)


def check_there(name):
    """Raise a UserError if a folder is missing or holds no classes, before anything slow is imported to read it."""
    kind, _, argument = name.partition(":")
    if kind == "folder":
        import_module(LOADERS[kind]).check(argument)


def short_name(name):
    """Return a data set's name as part of a run's: `folder:/data/cifar10-jpeg/` is `cifar10-jpeg`, `shapes:10` is `shapes10`."""
    kind, _, argument = name.partition(":")
    if kind == "folder":
        short = argument.rstrip("/").replace("\\", "/").rpartition("/")[2]
    else:
        short = argument if kind == "tfds" else name.replace(":", "")
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in short) or "folder"


def pool_of(name):
    """Return the pool that a data set's images are drawn from, equal for all names of one pool.

    `digits:0-4` is drawn from the digits. `cifar10` and `tfds:cifar10` (any version and config) are one pool. The pool of a
    folder is its resolved path.
    """
    kind, _, argument = name.partition(":")
    if kind == "folder":
        return kind, typed_path(argument).resolve()
    loader = LOADERS[kind]
    return loader, re.split("[/:]", argument or kind)[0] if loader == LOADERS["tfds"] else None


def load(name, data_dir="data", image_size=0, val_fraction=0.1, seed=0, class_seed=0, images_per_class=0, colour="rgb"):
    """Load a data set by name: one of LOADERS, `tfds:NAME` or `folder:PATH`. Raises UserError.

    With `images_per_class`, train keeps that many images of each class, drawn by the seed; val and test stay whole.
    """
    from datasets.dataset import Request
    from datasets.splits import complete, with_few

    check_name(name)
    kind, _, argument = name.partition(":")
    request = Request(argument or kind, typed_path(data_dir), image_size, class_seed)
    try:
        source = import_module(LOADERS[kind]).load(request)
    except OSError as error:
        if not is_of_the_system(error):
            raise
        raise UserError(f"data set '{name}' can't be read: {error}") from error
    dataset = complete(name, source.in_grey() if colour == "grey" else source, val_fraction, seed)
    return with_few(dataset, images_per_class, seed) if images_per_class else dataset
