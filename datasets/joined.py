"""Images of several splits as one, read from where they are."""

from dataclasses import replace

import numpy as np


class JoinedImages:
    """Images `(N, H, W, C)` of splits, one after the other."""

    def __init__(self, splits):
        self.splits = splits
        self.starts = np.cumsum([0, *map(len, splits)])
        self.shape = (int(self.starts[-1]), *splits[0].images.shape[1:])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        rows = np.arange(len(self))[rows]
        images = np.empty((len(rows), *self.shape[1:]), "uint8")
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(owner):
            own = owner == number
            images[own] = self.splits[number].read(rows[own] - self.starts[number])
        return images


def joined(splits, prefixes):
    """Return one Split of all images of splits; images without files are called as `Split.names` calls them."""
    files = [name for split, prefix in zip(splits, prefixes, strict=True) for name in split.names(prefix)]
    groups = [split.group_names() for split in splits]
    return replace(
        splits[0],
        images=JoinedImages(splits),
        labels=np.concatenate([split.labels for split in splits]),
        rows=None,
        box_of=None,
        files=tuple(files),
        groups=None if None in groups else tuple(group for own in groups for group in own),
    )
