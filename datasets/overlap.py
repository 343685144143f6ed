"""Images that splits share, found by their decoded pixels.

Every decoded image has a signature of 32 bits, which costs next to nothing and is stored with the decoded images. Equal
signatures occur by chance too, so SHA-256 of the pixels decides: images that are counted are equal to the last bit.
"""

import hashlib
import zlib
from dataclasses import dataclass

import numpy as np

from foundation.grammar import agreeing, counted

READ = 1024  # images read at once
PAIRS = (("val", "train"), ("test", "train"), ("test", "val"))


def signature(image) -> int:
    """Return the CRC-32 of an image's pixels."""
    return zlib.crc32(np.ascontiguousarray(image).data)


def signatures(images):
    """Return the signatures of images `(N, H, W, C)` uint8, as `(N,)` uint64, which has room for 64 bits of SHA-256 too."""
    found = np.empty(len(images), "uint64")
    for start in range(0, len(found), READ):
        found[start : start + READ] = [signature(image) for image in images[start : start + READ]]
    return found


@dataclass(frozen=True)
class Overlap:
    """Numbers of images that repeat within a data set's splits or are shared between them."""

    repeated: dict  # {split: images that equal an earlier one of it}
    shared: dict  # {"test in train": images of test that train also holds, ...}
    relabelled: int  # images that equal an earlier one, of any split, of another class
    is_shared: np.ndarray  # `(N,)`: True for images of test that train or val also hold

    def notes(self, sizes):
        """Yield a sentence for everything that was found; `sizes` is {split: images}."""
        for pair, count in self.shared.items():
            split, _, other = pair.split()
            if count:
                are = agreeing(count, "is", "are")
                of_split = f"{count:,} of {counted(sizes[split], 'image')} of {split}"
                yield f"{of_split} {are} in {other} too: {split} does not judge what is new"
        for split, count in self.repeated.items():
            if count:
                repeat = agreeing(count, "repeats", "repeat")
                yield f"{count:,} of {counted(sizes[split], 'image')} of {split} {repeat} an earlier one of it"
        if self.relabelled:
            have = agreeing(self.relabelled, "has", "have")
            yield f"{counted(self.relabelled, 'image')} {have} the pixels of another that belongs to another class"

    def record(self):
        """Return the counts for `overlap.json`."""
        return {"repeated": self.repeated, "shared": self.shared, "relabelled": self.relabelled}


def find_overlap(splits) -> Overlap:
    """Return the Overlap of splits `{"train": split, "val": split, "test": split}`."""
    known = identities(splits)
    is_in = {pair: np.isin(known[pair[0]], known[pair[1]]) for pair in PAIRS}
    return Overlap(
        repeated={name: len(identities) - len(np.unique(identities)) for name, identities in known.items()},
        shared={f"{split} in {other}": int(found.sum()) for (split, other), found in is_in.items()},
        relabelled=_relabelled(np.concatenate(list(known.values())), np.concatenate([s.labels for s in splits.values()])),
        is_shared=is_in["test", "train"] | is_in["test", "val"],
    )


def identities(splits):
    """Return {split: a number for each of its images}, equal for images of equal pixels."""
    known = {name: split.signatures() for name, split in splits.items()}
    values, counts = np.unique(np.concatenate(list(known.values())), return_counts=True)
    several = values[counts > 1]
    for name, split in splits.items():
        met = np.flatnonzero(np.isin(known[name], several))
        for start in range(0, len(met), READ):
            rows = met[start : start + READ]
            digests = b"".join(hashlib.sha256(image.tobytes()).digest()[:8] for image in split.read(rows))
            known[name][rows] = np.frombuffer(digests, "<u8")
    return known


def _relabelled(identities, labels):
    _, first, inverse = np.unique(identities, return_index=True, return_inverse=True)
    return int((labels != labels[first][inverse]).sum())
