"""Folder of image files: `PATH/train/<class>/*`, and optionally `PATH/val` and `PATH/test`; or `PATH/<class>/*` alone.

A CSV file may list the pictures instead: see `datasets.labels_csv`.

Images are decoded and resized once into a file under `data_dir/decoded`: see `datasets.decoded`. Its name holds a digest of
every file's path and content (see `datasets.content`) and of the image size, so a changed folder is decoded anew.
"""

import hashlib
import statistics
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from datasets.content import add_content
from datasets.dataset import Source, Split
from datasets.decoded import decoded
from datasets.groups import group_of_files
from datasets.image_files import REFUSED, find_image_files, left_out_note
from datasets.images import DECODERS, BrokenImage, image_size, opened, read_image
from datasets.labels_csv import is_labels_file, read_labels
from datasets.listing import VAL_NAMES, Listing
from datasets.samples import FULL_RANGES, TrainRanges, extent_of
from foundation.errors import UserError, normal, same_text, unknown
from foundation.grammar import counted
from foundation.paths import typed_path

WRITTEN = {"output", "weights", "data"}  # folders that trainings write where they are started: they are no classes
DECODER = "3"  # increased when a change here makes other pixels of the same files, or leaves out other files


def load(request) -> Source:
    """Return the splits of the folder or CSV file that `request.argument` names. Raises UserError if they can't be trained on."""
    return load_listing(_listing(typed_path(request.argument)), request)


def _listing(path):
    return read_labels(path) if is_labels_file(path) else list_folder(path)


def list_folder(root, name_of: Callable[[str], str] = str) -> Listing:
    """Return the Listing of the splits below `root`; a class is called `name_of(its folder's name)`. Raises UserError."""
    folders = _split_folders(root)
    class_names = _class_names(folders["train"], name_of)
    found = {name: _files_of(folder, class_names, name_of) for name, folder in folders.items() if folder.is_dir()}
    flat = f"{root} has no folder for train: its {len(class_names)} folders are the classes, val and test are drawn from them"
    files, others = ({name: pair[i] for name, pair in found.items()} for i in range(2))
    return Listing(root, class_names, files, others, (flat,) if folders["train"] == root else ())


def load_listing(listing, request) -> Source:
    """Return the Source of a Listing, decoded. Raises UserError."""
    root = listing.root
    groups = group_of_files(listing, request.group_by)
    size = request.image_size or _usual_size([file for file, _ in listing.files["train"]])
    splits, notes, ranges = {}, list(listing.notes), None
    for name, files in listing.files.items():  # train comes first
        split, broken, ranges = decode_files(root, files, size, request.data_dir, name, ranges)
        left_out = broken + [(file.relative_to(root), reason) for file, reason in listing.others.get(name, ())]
        notes += [left_out_note(name, left_out)] if left_out else []
        check_every_class(split, listing.class_names, f"{root}, split {name}")
        splits[name] = replace(split, groups=tuple(map(groups.get, split.files or ()))) if groups else split
    assert ranges  # those of train, which every listing has
    return Source(splits["train"], listing.class_names, splits.get("val"), splits.get("test"), notes=tuple(notes), ranges=ranges)


def measure(argument, image_size, share=0.1):
    """Return (train images, height and width, classes) of the folder without decoding it.

    Each of val and test that is missing takes this share of train. Raises UserError.
    """
    listing = _listing(typed_path(argument))
    files = [file for file, _ in listing.files["train"]]
    lacking = len({"val", "test"} - listing.files.keys())
    return len(files) - lacking * round(share * len(files)), image_size or _usual_size(files), len(listing.class_names)


def check(argument):
    """Raise a UserError for a folder or CSV file whose names alone show that it can't be trained on."""
    path = typed_path(argument)
    read_labels(path) if is_labels_file(path) else _class_names(_split_folders(path)["train"], str)


def _split_folders(root):
    """Return {split: its folder}. The folder of train exists; the others may be missing. Raises UserError.

    A folder without one for any split is the train split itself: its folders are the classes.
    """
    if not root.is_dir():
        raise UserError(f"no folder {root} (wanted: {root}/train/<class>/ or {root}/<class>/ with image files)")
    folders = {"train": root / "train", "test": root / "test"}
    folders["val"] = next((root / name for name in VAL_NAMES if (root / name).is_dir()), root / "val")
    if folders["train"].is_dir():
        return folders
    found = [entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    if len(found) < 2 or {"test", *VAL_NAMES} & set(found):
        raise UserError(
            f"no folder {folders['train']} (wanted: train/<class>/, or <class>/ alone, with image files; "
            f"found: {', '.join(found[:8]) or 'nothing'})"
        )
    if written := sorted(WRITTEN & set(found)):
        raise UserError(f"{root} holds {written[0]}/, which is no class; put the class folders into a folder of their own")
    return folders | {"train": root}


def _class_folders(folder, name_of):
    """Return {folder: its class} of a split, in a fixed order. Hidden folders are skipped: they belong to some program."""
    entries = (entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith("."))
    return {entry: name_of(entry.name) for entry in entries}


def _class_names(train, name_of):
    folders = _class_folders(train, name_of)
    if train / REFUSED in folders:
        raise UserError(f"{train} holds {REFUSED}/, pictures that predict.py refused to sort; move them elsewhere")
    names = sorted({normal(name): name for name in folders.values()}.values())
    if len(names) < 2:
        raise UserError(
            f"{train} holds {counted(len(names), 'class folder')}; at least two are needed: train/<class>/ with image files"
        )
    return tuple(names)


def _files_of(folder, class_names, name_of):
    """Return ([(image file, label), ...], [(other file, why it is no image), ...]) of the class folders, in a fixed order."""
    files, others = [], []
    for entry, name in _class_folders(folder, name_of).items():
        known = same_text(name, class_names)
        if known is None:
            raise unknown(f"class in {folder}", name, class_names, "classes are the folders of train")
        images, rest = find_image_files(entry)
        files += [(file, class_names.index(known)) for file in images]
        others += rest
    return files, others


def _usual_size(files):
    """Return the median of the shorter sides of up to 100 files, at most 256 and at least 8."""
    sample = files[:: max(len(files) // 100, 1)]
    sides = [min(size) for size in map(image_size, sample) if size]
    if not sides:
        raise UserError(f"no image file of train can be read (images are {', '.join(DECODERS)})")
    return max(min(int(statistics.median(sides)), 256), 8)


def check_every_class(split, class_names, folder):
    counts = np.bincount(split.labels, minlength=len(class_names))
    empty = [name for name, count in zip(class_names, counts, strict=False) if count == 0]
    if empty:
        raise UserError(f"no readable image in {folder} for class {', '.join(empty[:5])}{' ...' if len(empty) > 5 else ''}")


def decode_files(root, files, size, data_dir, name, ranges=None):
    """Decode the files [(file, label), ...] of a split once, below `data_dir`.

    Returns (split, [(path below root, why it could not be read), ...], sample ranges). `ranges` are the train split's, see
    `datasets.samples`; None: this is the train split, and its ranges are measured.
    """

    def read(i):
        file, label = files[i]
        return read_image(file, size, ranges=used), label

    def extent(i):
        try:
            with opened(files[i][0]) as image:
                return extent_of(image)
        except BrokenImage:
            return None

    used = TrainRanges(len(files), extent) if ranges is None else ranges
    target = data_dir / "decoded" / f"{root.resolve().name}-{name}-{size}-{_digest(root, files, size, ranges)}"
    images, labels, broken = decoded(target, len(files), read, size, name, used)
    paths, left_out = [file.relative_to(root) for file, _ in files], {i for i, _ in broken}
    kept = tuple(str(path) for i, path in enumerate(paths) if i not in left_out)
    return Split(images, labels, files=kept), [(paths[i], reason) for i, reason in broken], FULL_RANGES | used


def _digest(root, files, size, ranges):
    """Return a digest of everything that a decoded split is made from. Train's own ranges follow from its files."""
    digest = hashlib.sha256(f"{DECODER} {size} {ranges and sorted(ranges.items())}".encode())
    for file, label in files:
        line = f"{file.relative_to(root)}\0{label}\n"
        digest.update(line.encode(errors="surrogateescape"))  # bytes of a name that is not UTF-8, as the system has them
    add_content(digest, root, [file for file, _ in files])
    return digest.hexdigest()[:16]
