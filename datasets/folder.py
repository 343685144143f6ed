"""A folder of image files: `PATH/train/<class>/*`, and `PATH/val` and `PATH/test` where there are any.

Images are decoded and resized once into a file under `data_dir/decoded`: see `datasets.decoded`. Its name holds a digest of
every file's path, size and time of change and of the image size, so a changed folder is decoded anew.
"""

import hashlib
import statistics

import numpy as np

from datasets.dataset import Source, Split
from datasets.decoded import decoded
from datasets.images import image_size, printable, read_image
from errors import UserError, unknown
from paths import typed_path

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
VAL_NAMES = ("val", "valid", "validation")
DECODER = "2"  # raised when a change here makes other pixels of the same files


def load(request):
    """The splits of the folder that `request.argument` names. Raises UserError where they can't be trained on."""
    return load_folder(typed_path(request.argument), request)


def load_folder(root, request, name_of=str):
    """The splits below `root`; a class is called `name_of(its folder's name)`. Raises UserError."""
    folders = _split_folders(root)
    class_names = _class_names(folders["train"], name_of)
    files = {name: _files_of(folder, class_names, name_of) for name, folder in folders.items() if folder.is_dir()}
    size = request.image_size or _usual_size([file for file, _ in files["train"]])
    splits, notes = {}, []
    for name in files:
        splits[name], broken = decode_files(root, files[name], size, request.data_dir, name)
        notes += broken
        check_every_class(splits[name], class_names, folders[name])
    return Source(splits["train"], class_names, splits.get("val"), splits.get("test"), notes=tuple(notes))


def measure(argument, image_size, share=0.1):
    """(train images, height and width, classes) of the folder without decoding it, where val and test, if there are none, take
    this share of train each. Raises UserError."""
    folders = _split_folders(typed_path(argument))
    class_names = _class_names(folders["train"], str)
    files = [file for file, _ in _files_of(folders["train"], class_names, str)]
    lacking = sum(not folders[name].is_dir() for name in ("val", "test"))
    return len(files) - lacking * round(share * len(files)), image_size or _usual_size(files), len(class_names)


def _split_folders(root):
    """{split: its folder, whether it is there or not}; train is. Raises UserError."""
    if not root.is_dir():
        raise UserError(f"no folder {root} (wanted: {root}/train/<class>/ with image files)")
    folders = {"train": root / "train", "test": root / "test"}
    folders["val"] = next((root / name for name in VAL_NAMES if (root / name).is_dir()), root / "val")
    if not folders["train"].is_dir():
        found = [entry.name for entry in root.iterdir() if entry.is_dir()][:8]
        raise UserError(
            f"no folder {folders['train']} (wanted: train/<class>/ with image files; found: {', '.join(found) or 'nothing'})"
        )
    return folders


def _class_folders(folder, name_of):
    """{folder: its class} of a split, in a fixed order; hidden ones are some program's own."""
    entries = (entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith("."))
    return {entry: name_of(printable(entry.name)) for entry in entries}


def _class_names(train, name_of):
    names = sorted(_class_folders(train, name_of).values())
    if len(names) < 2:
        raise UserError(f"{train} holds {len(names)} class folders; at least two are needed: train/<class>/ with image files")
    return tuple(names)


def _files_of(folder, class_names, name_of):
    """(file, label) of every image file below the split's class folders, in a fixed order."""
    files = []
    for entry, name in _class_folders(folder, name_of).items():
        if name not in class_names:
            raise unknown(f"class in {folder}", name, class_names, "classes are the folders of train")
        label = class_names.index(name)
        files += [(file, label) for file in images_below(entry)]
    return files


def images_below(folder):
    """The image files, known by their endings, in a fixed order; hidden ones, and those in hidden folders, are some program's
    own, such as small copies."""

    def is_hidden(file):
        return any(part.startswith(".") for part in file.relative_to(folder).parts)

    return [f for f in sorted(folder.rglob("*")) if f.suffix.lower() in ENDINGS and not is_hidden(f) and f.is_file()]


def _usual_size(files):
    """The median of the shorter sides of up to 100 files, at most 256."""
    sample = files[:: max(len(files) // 100, 1)]
    sides = [min(size) for size in map(image_size, sample) if size]
    if not sides:
        raise UserError("no image file could be read")
    return max(min(int(statistics.median(sides)), 256), 8)


def check_every_class(split, class_names, folder):
    counts = np.bincount(split.labels, minlength=len(class_names))
    empty = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
    if empty:
        raise UserError(f"no readable image in {folder} for class {', '.join(empty[:5])}{' ...' if len(empty) > 5 else ''}")


def _broken_note(name, broken):
    shown = "; ".join(f"{file}: {reason}" for file, reason in broken[:3])
    return f"{len(broken)} files of {name} could not be read and were left out ({shown}{'; ...' if len(broken) > 3 else ''})"


def decode_files(root, files, size, data_dir, name):
    """The split of [(file, label), ...], and a note where some could not be read; decoded once, below `data_dir`."""

    def read(i):
        file, label = files[i]
        return read_image(file, size), label

    target = data_dir / "decoded" / f"{root.resolve().name}-{name}-{size}-{_digest(root, files, size)}"
    images, labels, broken = decoded(target, len(files), read, size, name)
    broken = [(printable(files[i][0].relative_to(root)), reason) for i, reason in broken]
    return Split(images, labels), [_broken_note(name, broken)] if broken else []


def _digest(root, files, size):
    digest = hashlib.sha256(f"{DECODER} {size}".encode())
    for file, label in files:
        status = file.stat()
        line = f"{file.relative_to(root)}\0{label}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))  # the system's own bytes of a name that is not UTF-8
    return digest.hexdigest()[:16]
