"""Data sets: the request to a loader, the source that it returns, and the loaded set with its three splits."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np

from datasets.decoded import ImageFile
from datasets.images import as_grey
from datasets.overlap import find_overlap, signatures
from datasets.samples import FULL_RANGES

CONVERTED = 1024  # images converted to grey at once
HASHED = 512 << 20  # maximum bytes of pixels that a fingerprint reads


@dataclass(frozen=True)
class Split:
    """Labels `(N,)` int64, and their images: `rows` (None: all) of `images`, `(M, H, W, C)` uint8 in memory or in a file."""

    images: "np.ndarray | ImageFile | GreyImages"
    labels: np.ndarray
    rows: np.ndarray | None = None
    box_of: Callable[[int], tuple[int, int, int, int]] | None = None  # the box of a row's object, see `boxes`
    files: tuple[str, ...] | None = None  # the path of a row's file below the data set's folder; None: images have no files
    groups: tuple[str | None, ...] | None = None  # the group of a row's picture, see `datasets.groups`; None: pictures have none

    def __len__(self):
        return len(self.labels)

    @property
    def nbytes(self) -> int:
        """Number of bytes of the split's images."""
        return len(self) * prod(self.images.shape[1:])

    def read(self, indices: "slice | list[int] | np.ndarray" = slice(None)) -> np.ndarray:
        """Return the images at these indices of the split, as an array."""
        return self.images[indices if self.rows is None else self.rows[indices]]

    def signatures(self):
        """Return a number for each image, `(N,)` uint64, equal for images of equal pixels; see `datasets.overlap`."""
        found = _signatures(self.images)
        return found if self.rows is None else found[self.rows]

    def boxes(self, indices):
        """Return left, top, right, bottom of the objects in images, `(n, 4)` pixels, the last two outside; None if unknown."""
        if self.box_of is None:
            return None
        rows = indices if self.rows is None else self.rows[indices]
        return np.array([self.box_of(int(row)) for row in rows])

    def names(self, split_name):
        """Return a name for each image: its file's path below the data set's folder, else such as "val 12"."""
        return [f"{split_name} {i}" for i in range(len(self))] if self.files is None else list(self.identities())

    def identities(self):
        """Return what tells each image from all others of its source: its file's path, as in `names`, or its row."""
        rows = tuple(range(len(self)) if self.rows is None else self.rows.tolist())
        return rows if self.files is None else tuple(self.files[row] for row in rows)

    def group_names(self):
        """Return the group of each image, see `datasets.groups`; None if pictures have no groups."""
        if self.groups is None or self.rows is None:
            return None if self.groups is None else list(self.groups)
        return [self.groups[row] for row in self.rows]

    def in_grey(self):
        """Return the split with images of one channel."""
        return replace(self, images=GreyImages(self.images))

    def select(self, indices):
        """Return the split of these indices; it shares the images."""
        rows = np.asarray(indices) if self.rows is None else self.rows[indices]
        return replace(self, labels=self.labels[indices], rows=rows)


class GreyImages:
    """Images `(N, H, W, 3)` as one channel, `(N, H, W, 1)`, converted when they are read."""

    def __init__(self, images):
        self.images = images
        self.shape = (*images.shape[:3], 1)

    def __getitem__(self, rows):
        rows = np.arange(self.shape[0])[rows]
        grey = np.empty((len(rows), *self.shape[1:]), "uint8")
        for start in range(0, len(rows), CONVERTED):  # converting a pixel takes many times its bytes
            part = slice(start, start + CONVERTED)
            grey[part] = as_grey(self.images[rows[part]])
        return grey


def _signatures(images):
    if isinstance(images, GreyImages):  # signatures are those of the images in colour
        return _signatures(images.images)
    return images.signatures() if isinstance(images, ImageFile) else signatures(images)


@dataclass(frozen=True)
class Request:
    """Arguments of a loader."""

    argument: str  # text after the colon of a name, or the name itself
    data_dir: Path
    image_size: int = 0  # height and width in pixels; 0: the set's own
    class_seed: int = 0  # seed of the draw of classes, for sets that draw them
    group_by: str = ""  # what names the group of a picture, see `datasets.groups`


@dataclass(frozen=True)
class Source:
    """A data set as its loader found it: a train split, perhaps other splits, and what is known of the set."""

    train: Split
    class_names: tuple[str, ...]
    val: Split | None = None
    test: Split | None = None
    mean: tuple[float, ...] | None = None  # per channel, of pixels scaled to 0..1; None: measured on train
    std: tuple[float, ...] | None = None
    is_mirrored: bool = True  # a class survives left-right mirroring (a digit does not)
    class_ids: tuple[str, ...] = ()  # names of classes in the source itself, such as WordNet's numbers
    notes: tuple[str, ...] = ()  # what a user should be told, such as files that could not be read
    ranges: dict = field(default_factory=FULL_RANGES.copy)  # samples that became 0 and 255, see `datasets.samples`

    def in_grey(self):
        """Return the same source with images of one channel. Mean and standard deviation are then measured."""
        splits = {name: split and split.in_grey() for name, split in (("val", self.val), ("test", self.test))}
        return replace(self, train=self.train.in_grey(), mean=None, std=None, **splits)


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits and how to scale their pixels: `(pixel / 255 - mean) / std` per channel."""

    name: str
    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    is_mirrored: bool = True
    is_drawn: bool = False  # val or test are a seed's share of what the source calls train
    class_ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ranges: dict = field(default_factory=FULL_RANGES.copy)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of classes, labels, splits and pixels. If the set is larger than HASHED, it reads evenly spaced images."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self.class_names, self.class_ids, self.image_shape, self.mean.tolist(), self.std.tolist())).encode())
        splits = (self.train, self.val, self.test)
        stride = -(-sum(split.nbytes for split in splits) // HASHED)
        for split in splits:
            digest.update(split.labels.astype("<i8").tobytes())
            chosen = np.arange(0, len(split), stride)
            for indices in np.array_split(chosen, -(-len(chosen) // 1024)):
                digest.update(split.read(indices).tobytes())
        return digest.hexdigest()

    @cached_property
    def overlap(self):
        """Overlap of the splits: the images that they share."""
        return find_overlap(self.splits)

    @property
    def splits(self):
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self):
        return self.train.images.shape[1:]
