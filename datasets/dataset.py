"""What a loaded data set is."""

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

CONVERTED = 1024  # images made grey at once
HASHED = 512 << 20  # bytes of pixels that a fingerprint reads at most


@dataclass(frozen=True)
class Split:
    """Labels `(N,)` as int64 and their images: `rows` of `images`, `(M, H, W, C)` uint8 in memory or in a file; None: all."""

    images: "np.ndarray | ImageFile | GreyImages"
    labels: np.ndarray
    rows: np.ndarray | None = None
    box_of: Callable[[int], tuple[int, int, int, int]] | None = None  # of a row: where its object is known to be, see `boxes`

    def __len__(self):
        return len(self.labels)

    @property
    def nbytes(self):
        """Of the split's images."""
        return len(self) * prod(self.images.shape[1:])

    def read(self, indices=slice(None)):
        """The images of these indices of the split, as an array."""
        return self.images[indices if self.rows is None else self.rows[indices]]

    def signatures(self):
        """A number for each image, equal where their pixels are, `(N,)` uint64; see `datasets.overlap`."""
        found = _signatures(self.images)
        return found if self.rows is None else found[self.rows]

    def boxes(self, indices):
        """Left, top, right, bottom of the objects in images, `(n, 4)` pixels, the last two outside; None where unknown."""
        if self.box_of is None:
            return None
        rows = indices if self.rows is None else self.rows[indices]
        return np.array([self.box_of(int(row)) for row in rows])

    def in_grey(self):
        """The split with images of one channel."""
        return replace(self, images=GreyImages(self.images))

    def select(self, indices):
        """The split of these indices; shares the images."""
        rows = np.asarray(indices) if self.rows is None else self.rows[indices]
        return replace(self, labels=self.labels[indices], rows=rows)


class GreyImages:
    """Images `(N, H, W, 3)` as one channel, `(N, H, W, 1)`, converted as they are read."""

    def __init__(self, images):
        self.images = images
        self.shape = (*images.shape[:3], 1)

    def __getitem__(self, rows):
        rows = np.arange(self.shape[0])[rows]
        grey = np.empty((len(rows), *self.shape[1:]), "uint8")
        for start in range(0, len(rows), CONVERTED):  # on the way a pixel takes many times its bytes
            part = slice(start, start + CONVERTED)
            grey[part] = as_grey(self.images[rows[part]])
        return grey


def _signatures(images):
    if isinstance(images, GreyImages):  # those of the images in colour
        return _signatures(images.images)
    return images.signatures() if isinstance(images, ImageFile) else signatures(images)


@dataclass(frozen=True)
class Request:
    """What is asked of a loader."""

    argument: str  # what follows the colon of a name, or the name itself
    data_dir: Path
    image_size: int = 0  # height and width in pixels; 0: the set's own
    class_seed: int = 0  # of the draw of classes, where a set is a draw


@dataclass(frozen=True)
class Source:
    """A data set as it was found: a train split, perhaps others, and what is known of it."""

    train: Split
    class_names: tuple[str, ...]
    val: Split | None = None
    test: Split | None = None
    mean: tuple[float, ...] | None = None  # per channel, of pixels scaled to 0..1; None: measured on train
    std: tuple[float, ...] | None = None
    is_mirrored: bool = True  # a class survives left-right mirroring (a digit does not)
    class_ids: tuple[str, ...] = ()  # what the source itself calls its classes, such as WordNet's numbers
    notes: tuple[str, ...] = ()  # what a user should be told, such as files that could not be read
    ranges: dict = field(default_factory=FULL_RANGES.copy)  # samples that became 0 and 255, see `datasets.samples`

    def in_grey(self):
        """The same with images of one channel, whose mean and deviation are measured."""
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
    def fingerprint(self):
        """A digest of classes, labels, splits and pixels (of a larger set than HASHED, those of evenly spaced images)."""
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
        """Which images the splits share."""
        return find_overlap(self.splits)

    @property
    def splits(self):
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def classes(self):
        return len(self.class_names)

    @property
    def image_shape(self):
        return self.train.images.shape[1:]
