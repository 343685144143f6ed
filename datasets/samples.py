"""Samples of more than 8 bits: one scale for all files of a data set, so that equal samples become equal grey levels.

| samples | the scale to 0..255 |
|---|---|
| 8 bits a channel, whatever the format | as they are |
| whole numbers of more bits (grey of 10, 12, 16 or 32 bits) | from the lowest to the highest sample of train's files |
| floating point | 0..1 where all samples of train's files lie there, else from the lowest to the highest |

Samples outside, in files of val, test or of later, become 0 or 255. Where no file of train has such samples the scale is
FULL_RANGES. A format that says itself what its highest sample is (PGM) is scaled by that first. Files with NaN or infinite
samples are not read.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np

from foundation.errors import UserError

FULL_RANGES = {"integer": (0, 65535), "float": (0.0, 1.0)}


def ranges_of(record):
    """The ranges that a run or an exported network recorded, FULL_RANGES for those of before. Raises UserError for others."""
    record = FULL_RANGES if record is None else record
    try:
        ranges = {kind: (low, high) for kind, (low, high) in record.items()}
        are_numbers = all(type(end) in (int, float) for ends in ranges.values() for end in ends)
        is_complete = are_numbers and ranges.keys() == FULL_RANGES.keys()
        if is_complete and all(0 <= float(high) - float(low) < math.inf for low, high in ranges.values()):
            return ranges
    except (AttributeError, OverflowError, TypeError, ValueError):
        pass
    raise UserError(f"sample_ranges are {str(record)[:100]}, allowed: such as {FULL_RANGES}")


class NotFinite(ValueError):
    """Samples that are no numbers."""

    def __init__(self):
        super().__init__("it has samples that are NaN or infinite")


def deep_kind(image):
    """Return a key of FULL_RANGES for a Pillow image whose samples have more than 8 bits; else None."""
    return "float" if image.mode == "F" else "integer" if image.mode.startswith("I") else None


def to_levels(samples, value_range):
    """Return samples as uint8, the range's ends as 0 and 255. Raises NotFinite."""
    samples, (low, high) = samples.astype("float64"), value_range
    if not np.isfinite(samples).all():
        raise NotFinite
    scaled = (samples - low) * (255.0 / (high - low)) if high > low else samples - low
    return np.rint(np.clip(scaled, 0.0, 255.0)).astype("uint8")


class TrainRanges(dict):
    """The ranges of a train split's files, measured when the first sample of more than 8 bits is met, by all cores.

    `extent(i)`, i below `count`, gives (kind, lowest, highest) of a file, or None where its samples have 8 bits or it can't be
    read. Threads that decode share it.
    """

    def __init__(self, count, extent):
        super().__init__()
        self.count, self.extent = count, extent
        self.lock = Lock()

    def __missing__(self, kind):
        with self.lock:
            if kind not in self:
                self.update(FULL_RANGES | self._measured())
        return self[kind]

    def _measured(self):
        extents = {}
        with ThreadPoolExecutor() as pool:
            for found in filter(None, pool.map(self.extent, range(self.count))):
                kind, low, high = found
                known = extents.get(kind, (low, high))
                extents[kind] = min(low, known[0]), max(high, known[1])
        low, high = extents.get("float", (0.0, 1.0))
        if low >= 0.0 and high <= 1.0:
            extents["float"] = FULL_RANGES["float"]
        return extents


def extent_of(image):
    """Return (kind, lowest, highest sample) of a Pillow image, or None where its samples have 8 bits. Raises NotFinite."""
    kind = deep_kind(image)
    if kind is None:
        return None
    samples = np.asarray(image)
    low, high = samples.min(), samples.max()
    if not np.isfinite([low, high]).all():
        raise NotFinite
    return (kind, float(low), float(high)) if kind == "float" else (kind, int(low), int(high))
