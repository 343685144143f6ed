"""Data set names: the one table from a name to its loader. Loaders are imported when they are asked for."""

import re
from dataclasses import dataclass
from importlib import import_module

from foundation.errors import UserError, is_of_the_system, unknown
from foundation.paths import typed_path


@dataclass(frozen=True)
class Entry:
    """A kind of data set: the module whose `load` takes a Request and returns a Source, and what is known before it is loaded."""

    module: str
    argument: str = ""  # what follows the colon; in brackets where it may be left out
    images: int | None = None  # of train, after val is split off
    pixels: int | None = None  # height and width
    classes: int | None = None
    has_files: bool = False  # its pictures are files, whose paths can name groups

    @property
    def needs_argument(self) -> bool:
        return bool(self.argument) and not self.argument.startswith("[")


CATALOG = {
    "digits": Entry("datasets.digits", "[FIRST-LAST]", 1_437, 32, 10),
    "cifar10": Entry("datasets.tensorflow_datasets", "", 45_000, 32, 10),
    "cifar100": Entry("datasets.tensorflow_datasets", "", 45_000, 32, 100),
    "tiny_imagenet25": Entry("datasets.tiny_imagenet", "", 11_250, 64, 25),
    "tiny_imagenet200": Entry("datasets.tiny_imagenet", "", 90_000, 64, 200),
    "indian_birds": Entry("datasets.indian_birds", "", 30_000, 256, 25, has_files=True),
    "shapes": Entry("datasets.shapes", "[CLASSES]", 5_400, 64, 25),
    "tfds": Entry("datasets.tensorflow_datasets", "NAME"),
    "folder": Entry("datasets.folder", "PATH", has_files=True),
}


def expected(name, image_size=0):
    """Return (train images, height and width, classes) of a data set before it is loaded, or None if that is not known."""
    kind, _, argument = name.partition(":")
    if kind == "folder":
        return _measured(argument, image_size)
    entry = CATALOG.get(kind)
    if not entry or not entry.images:
        return None
    images, classes = entry.images, entry.classes
    if argument:
        parsed = import_module(entry.module).parse(argument)
        chosen = parsed[0] if kind == "shapes" else parsed[1] - parsed[0] + 1
        images, classes = images * chosen // classes, chosen
    return images, image_size or entry.pixels, classes


def _measured(folder, image_size):
    from datasets.folder import measure

    try:
        return measure(folder, image_size)
    except (UserError, OSError):  # the folder may lie on another machine or be unreadable
        return None


def check_name(name, group_by=""):
    """Raise a UserError unless `load` knows the name, and can group its pictures if `group_by` is given."""
    kind, colon, argument = name.partition(":")
    entry = CATALOG.get(kind)
    if not entry and (re.match(r"[./~]|[A-Za-z]:[\\/]", name) or typed_path(name).is_dir()):
        raise UserError(f"data set '{name}' is a path; did you mean 'folder:{name}'?")
    if not entry or (colon and not entry.argument):
        raise unknown("data set", name, [f"{known}:{e.argument}" if e.needs_argument else known for known, e in CATALOG.items()])
    if entry.needs_argument and not argument:
        raise UserError(f"data set '{name}' lacks its part after the colon: {kind}:{entry.argument}")
    if argument and not entry.needs_argument:
        import_module(entry.module).parse(argument)
    if group_by and not entry.has_files:
        able = [f"{known}:{e.argument}" if e.argument else known for known, e in CATALOG.items() if e.has_files]
        raise UserError(f"group_by finds groups in paths of files, which data set '{name}' lacks (allowed: {', '.join(able)})")


def check_there(name):
    """Raise a UserError if a folder is missing or holds no classes, before anything slow is imported to read it."""
    kind, _, argument = name.partition(":")
    if kind == "folder":
        import_module(CATALOG[kind].module).check(argument)


def short_name(name) -> str:
    """Return a data set's name as part of a run's: `folder:/data/cifar10-jpeg/` is `cifar10-jpeg`, `shapes:10` is `shapes10`.

    `folder:/data/photos/labels.csv` is `photos-labels`.
    """
    kind, _, argument = name.partition(":")
    if kind == "folder":
        *folders, short = argument.rstrip("/").replace("\\", "/").split("/")
        if short.lower().endswith(".csv"):
            short = "-".join([*folders[-1:], short[: -len(".csv")]])
    else:
        short = argument if kind == "tfds" else name.replace(":", "")
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in short) or "folder"


def pool_of(name):
    """Return the pool that a data set's images are drawn from, equal for all names of one pool.

    `digits:0-4` is drawn from the digits. `cifar10` and `tfds:cifar10` (any version and config) are one pool. The pool of a
    folder, or of a CSV file in it, is its resolved path.
    """
    kind, _, argument = name.partition(":")
    if kind == "folder":
        path = typed_path(argument).resolve()
        return kind, path.parent if path.suffix.lower() == ".csv" else path
    module = CATALOG[kind].module
    return module, re.split("[/:]", argument or kind)[0] if module == CATALOG["tfds"].module else None


# Settings besides the data set's name on which its splits depend: the options of `load`.
OF_DATA = ("data_dir", "image_size", "val_fraction", "seed", "class_seed", "images_per_class", "colour", "group_by")


def load_as(config):
    """Load the data set of a config. Raises UserError."""
    return load(config.dataset, **{name: getattr(config, name) for name in OF_DATA})


def load(
    name, data_dir="data", image_size=0, val_fraction=0.1, seed=0, class_seed=0, images_per_class=0, colour="rgb", group_by=""
):
    """Load a data set by name: one of CATALOG, `tfds:NAME` or `folder:PATH`. Raises UserError.

    With `images_per_class`, train keeps that many images of each class, drawn by the seed; val and test stay whole. With
    `group_by`, pictures of one group stay together, see `datasets.groups`.
    """
    from datasets.dataset import Request
    from datasets.splits import complete, with_few

    check_name(name, group_by)
    kind, _, argument = name.partition(":")
    request = Request(argument or kind, typed_path(data_dir), image_size, class_seed, group_by)
    try:
        source = import_module(CATALOG[kind].module).load(request)
    except OSError as error:
        if not is_of_the_system(error):
            raise
        raise UserError(f"data set '{name}' can't be read: {error}") from error
    dataset = complete(name, source.in_grey() if colour == "grey" else source, val_fraction, seed)
    return with_few(dataset, images_per_class, seed) if images_per_class else dataset
