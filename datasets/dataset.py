"""What a loaded data set is."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """Images `(N, H, W, 3)` as uint8, an array in memory or mapped from a file, and labels `(N,)` as int64."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def select(self, indices):
        return Split(self.images[indices], self.labels[indices])


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
    notes: tuple[str, ...] = ()  # what a user should be told, such as files that could not be read


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
    notes: tuple[str, ...] = ()

    @property
    def classes(self):
        return len(self.class_names)

    @property
    def image_shape(self):
        return self.train.images.shape[1:]
