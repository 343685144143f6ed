"""Pictures of a data set as the audit sees them: one row for each picture of train, val and test, in this order."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.dataset import Dataset
from datasets.images import BrokenImage, opened
from datasets.overlap import identities
from foundation.paths import typed_path
from lab.auditing.near import SIDE

READ = 256  # pictures read at once
BORDER = 0.05  # share of the side that counts as border, at each edge
TURNED = {5, 6, 7, 8}  # values of the EXIF orientation that exchange width and height


@dataclass(frozen=True)
class FileFacts:
    """Facts about a picture's file: width and height in pixels, upright; kind of file, such as JPEG; size in bytes."""

    width: int
    height: int
    kind: str
    size: int


@dataclass(frozen=True)
class Pictures:
    """Rows of all pictures of a data set; `files` is None where pictures are not files of a folder."""

    dataset: Dataset
    names: list[str]
    split: np.ndarray  # `(N,)` number of the split
    labels: np.ndarray  # `(N,)`
    groups: list[str | None] | None
    identity: np.ndarray  # `(N,)`, equal for pictures of equal pixels
    small: np.ndarray  # `(N, SIDE, SIDE)` uint8, grey
    border: np.ndarray  # `(N, 6)`: mean and standard deviation of red, green and blue at the border
    files: list[FileFacts | None] | None

    def __len__(self):
        return len(self.labels)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.dataset.splits)

    def split_name(self, row) -> str:
        return self.splits[self.split[row]]

    def class_name(self, row) -> str:
        return self.dataset.class_names[self.labels[row]]

    def read(self, rows):
        """Return the images of rows as a list of `(H, W, C)` uint8."""
        starts = np.cumsum([0, *map(len, self.dataset.splits.values())])
        splits = list(self.dataset.splits.values())
        return [splits[self.split[row]].read([row - starts[self.split[row]]])[0] for row in rows]


def pictures_of(dataset) -> Pictures:
    """Return the Pictures of a data set. Reads every decoded image once, and the head of each file."""
    splits = dataset.splits
    looks = [look for split in splits.values() for look in _looks(split)]
    names = [name for split, found in splits.items() for name in found.names(split)]
    groups = [split.group_names() for split in splits.values()]
    return Pictures(
        dataset=dataset,
        names=names,
        split=np.repeat(np.arange(len(splits)), [len(split) for split in splits.values()]),
        labels=np.concatenate([split.labels for split in splits.values()]),
        groups=None if None in groups else [group for own in groups for group in own],
        identity=np.concatenate(list(identities(splits).values())),
        small=np.stack([small for small, _ in looks]),
        border=np.stack([border for _, border in looks]),
        files=_files(dataset, names),
    )


def _looks(split):
    """Yield (small grey picture, colours of the border) of each image of a split."""
    for start in range(0, len(split), READ):
        for image in split.read(np.arange(start, min(start + READ, len(split)))):
            image = np.broadcast_to(image, (*image.shape[:2], 3))
            grey = Image.fromarray(np.ascontiguousarray(image)).convert("L")
            yield np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR)), _border(image)


def _border(image):
    high, wide = (max(round(BORDER * side), 1) for side in image.shape[:2])
    edges = (image[:high], image[-high:], image[high:-high, :wide], image[high:-high, -wide:])
    pixels = np.concatenate([edge.reshape(-1, 3) for edge in edges]).astype("float32")
    return np.concatenate([pixels.mean(0), pixels.std(0)])


def _files(dataset, names):
    kind, _, argument = dataset.name.partition(":")
    if kind != "folder":
        return None
    root = typed_path(argument)
    root = root if root.is_dir() else root.parent
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda name: _facts(root / name), names))


def _facts(path: Path):
    """Return the FileFacts of an image file; None if it can't be read now."""
    try:
        with opened(path) as image:
            width, height = image.size
            if image.getexif().get(0x0112) in TURNED:
                width, height = height, width
            return FileFacts(width, height, image.format or "unknown", path.stat().st_size)
    except (BrokenImage, OSError):
        return None
