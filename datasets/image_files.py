"""The image files below a folder, known by their content where their endings do not tell."""

import os
from pathlib import Path

from datasets.images import ENDINGS, kind_of, unread_kind
from errors import printable

NAMED = 3  # files that a note names; the others are counted


def find_image_files(folder):
    """(image files, [(other file, why it is none), ...]) below a folder, both in a fixed order.

    A file of a usual ending counts as one; of any other, where its content begins as an image does. Hidden files, and those in
    hidden folders, are some program's own, such as small copies, and are passed over. Raises OSError.
    """
    images, others = [], []
    for entry in _files_below(folder):
        if reason := _reason_against(entry):
            others.append((Path(entry.path), reason))
        else:
            images.append(Path(entry.path))
    return images, others


def _reason_against(entry):
    """Why a file is no image; None where it seems to be one."""
    if not _leads_to(entry, "is_file"):
        return "a link to nothing" if entry.is_symlink() else "no regular file"
    if os.path.splitext(entry.name)[1].lower() in ENDINGS:
        return None
    with open(entry.path, "rb") as file:
        start = file.read(64)
    return None if kind_of(start) else unread_kind(start)


def _files_below(folder):
    """Yields the entries of all files in the order of their paths, links to folders followed, each folder once: neither a loop
    of links nor a link to a folder that holds this one leads anywhere."""
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
    """What a folder holds that is not hidden, the last name first."""
    with os.scandir(folder) as found:
        return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name, reverse=True)


def _leads_to(entry, kind):
    """Whether an entry, or what it links to, is of a kind; what the folder tells of all others asks the system nothing."""
    return getattr(Path(entry.path) if entry.is_symlink() else entry, kind)()


def _identity(folder):
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def left_out_note(split, left_out):
    """A sentence on files of a split that are not used, [(path, reason), ...]."""
    shown = "; ".join(f"{printable(file)}: {printable(reason)}" for file, reason in left_out[:NAMED])
    more = "; ..." if len(left_out) > NAMED else ""
    return f"{len(left_out):,} files of {split} could not be read and were left out ({shown}{more})"
