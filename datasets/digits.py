"""The embedded data set: scikit-learn's scans of handwritten digits (Alpaydin & Kaynak 1998), 1,797 of 8x8 pixels."""

import string

import numpy as np
from PIL import Image

from datasets.dataset import Source, Split
from foundation.errors import UserError


def load(request) -> Source:
    """Return all (or those of `digits:FIRST-LAST`) as one split; 32 pixels unless another size is asked for. Raises UserError."""
    from sklearn.datasets import load_digits  # which takes a second to import

    size = request.image_size or 32
    first, last = parse(request.argument)
    scans = load_digits()
    chosen = (first <= scans.target) & (scans.target <= last)
    # Sixteen grey levels become 0..255, shown as RGB at the size of a CIFAR image.
    images = [_as_rgb(scan, size) for scan in scans.images[chosen]]
    return Source(
        train=Split(np.stack(images), scans.target[chosen].astype("int64") - first),
        class_names=tuple(str(digit) for digit in range(first, last + 1)),
        is_mirrored=False,
    )


def parse(argument) -> tuple[int, int]:
    """Return (first, last digit) of what follows `digits:`, "digits" for nothing. Raises UserError."""
    first, dash, last = ("0", "-", "9") if argument == "digits" else argument.partition("-")
    if not (dash and len(first) == len(last) == 1 and first in string.digits and last in string.digits and first < last):
        raise UserError(f"digits:{argument} is no data set, allowed: digits, or some of them such as digits:0-4")
    return int(first), int(last)


def _as_rgb(scan, size):
    grey = Image.fromarray((scan * (255 / 16)).astype("uint8"))
    return np.asarray(grey.resize((size, size), Image.Resampling.BICUBIC).convert("RGB"))
