"""Images decoded and resized once, by all cores, into a file that later runs read by index.

A decoded split is a folder. It holds `images.bin` (pixels, one image after the other), `signatures.bin` (a number for each
image) and `contents.json` (shape, labels, scale of the samples, images that could not be read). One rename puts the complete
folder in place. Its name ends in a digest of what it was made from.
"""

import errno
import json
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np

from datasets.access import check_write, may_write
from datasets.images import BrokenImage
from datasets.overlap import signature, signatures
from datasets.samples import FULL_RANGES, ranges_of
from foundation.errors import UserError, is_of_the_system
from foundation.files import open_regular, parse_json, read_regular, temporary_folder

CHUNK = 512  # images decoded before they are written
SIGNATURES = "signatures.bin"
LARGEST, LARGEST_CONTENTS = 1 << 50, 1 << 30  # bytes of images.bin and of contents.json
NO_FILE = {errno.EINVAL, errno.EFBIG}  # what `files` says of pipes, devices and files that are too large
MOST_CLASSES = 1 << 20


class ImageFile:
    """Images `(N, H, W, C)` uint8 in a file, read by index: `images[rows]` is an array of those rows.

    The file is read rather than mapped into memory. That keeps the process small, however large the set is.
    """

    def __init__(self, path, shape):
        self.path = path
        self.shape = tuple(shape)
        self.file = open_regular(path, LARGEST)  # for as long as the images are needed

    def __len__(self):
        return self.shape[0]

    def signatures(self):
        """Return a number for each image, `(N,)` uint64, see `datasets.overlap`; compute it if an earlier version stored none."""
        try:
            with open_regular(self.path.with_name(SIGNATURES), LARGEST) as file:
                kept = np.frombuffer(file.read(4 * len(self) + 1), "<u4").astype("uint64")
        except (OSError, ValueError):  # missing, or of another length
            kept = ()
        return kept if len(kept) == len(self) else signatures(self)

    def __getitem__(self, rows):
        rows = np.arange(len(self))[rows]
        images = np.empty((len(rows), *self.shape[1:]), "uint8")
        size = prod(self.shape[1:])
        done = 0
        for neighbours in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):  # neighbouring rows are read at once
            if len(neighbours):
                self._read(images[done : done + len(neighbours)], int(neighbours[0]) * size)
            done += len(neighbours)
        return images

    def _read(self, images, offset):
        buffer = memoryview(images.reshape(-1))
        while buffer:
            count = os.preadv(self.file.fileno(), [buffer[: 1 << 30]], offset)
            if not count:
                raise OSError(
                    errno.EIO, "the file ends too early: remove its folder, and the images are decoded anew", str(self.path)
                )
            buffer, offset = buffer[count:], offset + count


def decoded(target, count, read, size, name, ranges=None):
    """Return images `(N, size, size, 3)`, labels `(N,)` int64 and [(i, reason), ...] of the images that could not be read.

    `read(i)`, for i below `count`, returns (image, label), or raises BrokenImage if the content is at fault; the reason is
    recorded. Any other error, such as one of the disk, ends decoding, and nothing is kept. Images are decoded only if `target`
    is missing or incomplete. `ranges`, which `read` may have measured, are stored with the images, and are filled with the
    stored ones. Raises UserError if images can't be decoded or stored.
    """
    ranges = {} if ranges is None else ranges
    try:
        found = _open(target, count, size, ranges)
        if not found:
            check_write(f"the decoded images of {name}", target.parent)
            _decode(target, count, read, size, name, ranges)
            found = _open(target, count, size, ranges)
        if not found:
            raise UserError(f"the decoded images of {name} in {target} were removed or changed while they were written")
    except OSError as error:
        if not is_of_the_system(error):
            raise
        raise UserError(f"decoded images can't be kept in {target.parent}: {error}") from error
    return found


def _open(target, count, size, ranges):
    """Return the result of `decoded`, or None if `target` is missing or not complete.

    An incomplete `target` is removed if writing is allowed.
    """
    if not os.path.lexists(target):
        return None
    try:
        contents = parse_json(read_regular(target / "contents.json", LARGEST_CONTENTS))
        shape, labels, broken, found = _checked(contents, count, size)
        images = ImageFile(target / "images.bin", shape)
        if os.fstat(images.file.fileno()).st_size == prod(shape):
            ranges.update(found)
            return images, labels, broken
        why = "images.bin is of another size"
    except (FileNotFoundError, NotADirectoryError, UserError, ValueError) as error:
        why = error
    except OSError as error:
        if error.errno not in NO_FILE:  # what can't be read now may be readable tomorrow
            raise
        why = error
    print(f"note: {target} is not whole ({why}){' and is decoded anew' if may_write() else ''}", file=sys.stderr)
    if may_write():
        shutil.rmtree(target) if target.is_dir() and not target.is_symlink() else target.unlink()
    return None


def _checked(contents, count, size):
    """Return shape, labels, images that could not be read and sample ranges of a contents.json.

    The folder lies in a run's `data_dir`, which may be a stranger's. Raises UserError or ValueError.
    """
    try:
        labels, broken, kept = np.asarray(contents["labels"]), contents["broken"], contents.get("ranges", {})
        shape = (len(labels), size, size, 3)
        if list(shape) != contents["shape"] or len(labels) + len(broken) != count or labels.ndim != 1:
            raise ValueError("it is of other images")
        if len(labels) and not (labels.dtype.kind == "i" and -1 <= labels.min() <= labels.max() < MOST_CLASSES):
            raise ValueError("labels should be numbers of classes")
        if not all(type(i) is int and 0 <= i < count and isinstance(why, str) for i, why in broken):
            raise ValueError("broken should list images and reasons")
        ranges = {kind: ends for kind, ends in ranges_of(FULL_RANGES | kept).items() if kind in kept}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(repr(error)) from error
    return shape, labels.astype("int64"), broken, ranges


def _decode(target, count, read, size, name, ranges):
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(target.parent) as work:
        labels, broken, signed, began = [], [], [], time.perf_counter()
        with open(work / "images.bin", "wb") as file, ThreadPoolExecutor() as pool:
            for start in range(0, count, CHUNK):
                chunk = range(start, min(start + CHUNK, count))
                for i, found in zip(chunk, pool.map(lambda i: _attempt(read, i, name), chunk), strict=True):
                    if isinstance(found, str):
                        broken.append((i, found))
                    else:
                        file.write(found[0].tobytes())
                        labels.append(int(found[1]))
                        signed.append(found[2])
                _show_progress(name, chunk.stop, count, began)
            file.flush()
            os.fsync(file.fileno())
        contents = {"shape": (len(labels), size, size, 3), "labels": labels, "broken": broken, "ranges": dict(ranges)}
        np.asarray(signed, "<u4").tofile(work / SIGNATURES)
        (work / "contents.json").write_text(json.dumps(contents))
        try:
            os.rename(work, target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise


def _attempt(read, i, name):
    try:
        image, label = read(i)
        return image, label, signature(image)
    except BrokenImage as error:
        return str(error)
    except OSError as error:
        raise UserError(f"an image of {name} can't be read: {error}") from error
    except MemoryError as error:
        raise UserError(f"there is too little memory to decode the images of {name}") from error


def _show_progress(name, done, total, began):
    if not sys.stderr.isatty():
        return
    speed = done / (time.perf_counter() - began)
    line = f"\rdecoding {name}: {done:,} of {total:,} images, {speed:,.0f} a second, {(total - done) / speed:,.0f} s left \033[K"
    print(line, end="\n" if done == total else "", file=sys.stderr, flush=True)
