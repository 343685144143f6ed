"""Image files below a folder, recognised by their endings or else by their content."""

import os
from pathlib import Path

from datasets.images import ENDINGS, kind_of, unread_kind
from foundation.errors import printable
from foundation.grammar import agreeing, counted

NAMED = 3  # files that a note names; the others are counted
MAP_ENDING = ".map.png"  # of the heat map that `predict.py --explain` writes beside a picture
REFUSED = "_refused"  # the folder of pictures whose answer `predict.py --sort-into` refuses


def find_image_files(folder):
    """Return (image files, [(other file, why it is no image), ...]) below a folder, both in a fixed order.

    A file with a usual ending counts as an image; a file with another ending does if its content begins like an image. A heat
    map beside its picture is none: `robin.jpg.map.png` of `robin.jpg`, and `robin.map.png` of earlier versions. Hidden files and
    files in hidden folders are skipped: they belong to some program, such as small copies. Raises OSError.
    """
    images, others = [], []
    entries = list(_files_below(folder))
    pictures = {name for entry in entries for name in (entry.path, os.path.splitext(entry.path)[0])}
    for entry in entries:
        if entry.path.endswith(MAP_ENDING) and entry.path.removesuffix(MAP_ENDING) in pictures:
            others.append((Path(entry.path), "a map of the picture beside it"))
        elif reason := _reason_against(entry):
            others.append((Path(entry.path), reason))
        else:
            images.append(Path(entry.path))
    return images, others


def _reason_against(entry):
    """Return why a file is no image, or None if it seems to be one."""
    if not _leads_to(entry, "is_file"):
        return "a link to nothing" if entry.is_symlink() else "no regular file"
    if os.path.splitext(entry.name)[1].lower() in ENDINGS:
        return None
    with open(entry.path, "rb") as file:
        start = file.read(64)
    return None if kind_of(start) else unread_kind(start)


def _files_below(folder):
    """Yield the entries of all files in the order of their paths.

    Links to folders are followed, and each folder is read once. A loop of links and a link to a parent folder are skipped.
    """
    visited = {_identity(place) for place in (Path(folder).resolve(), *Path(folder).resolve().parents)}
    stack = _entries(folder)
    while stack:
        entry = stack.pop()
        if not _leads_to(entry, "is_dir"):
            yield entry
        elif (identity := _identity(entry.path)) not in visited:
            visited.add(identity)
            stack += _entries(entry.path)


def _entries(folder):
    """Return the entries of a folder that are not hidden, the last name first."""
    with os.scandir(folder) as found:
        return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name, reverse=True)


def _leads_to(entry, kind):
    """Return whether an entry, or the file that it links to, is of a kind: `is_file`, `is_dir`. Only links need a system call."""
    return getattr(Path(entry.path) if entry.is_symlink() else entry, kind)()


def _identity(folder):
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def left_out_note(split, left_out) -> str:
    """Return a sentence on the files of a split that are not used, [(path, reason), ...]."""
    shown = "; ".join(f"{printable(file)}: {printable(reason)}" for file, reason in left_out[:NAMED])
    more = "; ..." if len(left_out) > NAMED else ""
    were = agreeing(len(left_out), "was", "were")
    return f"{counted(len(left_out), 'file')} of {split} {were} left out ({shown}{more})"
