"""The embedded data set: scikit-learn's scans of handwritten digits (Alpaydin & Kaynak 1998), 1,797 of 8x8 pixels."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from datasets.dataset import Source, Split


def load(request):
    """All of them as one split; 32 pixels unless another size is asked for."""
    size = request.image_size or 32
    scans = load_digits()
    # Sixteen grey levels become 0..255, shown as RGB at the size of a CIFAR image.
    images = [_as_rgb(scan, size) for scan in scans.images]
    return Source(
        train=Split(np.stack(images), scans.target.astype("int64")),
        class_names=tuple(str(digit) for digit in range(10)),
        is_mirrored=False,
    )


def _as_rgb(scan, size):
    grey = Image.fromarray(np.uint8(scan * (255 / 16)))
    return np.asarray(grey.resize((size, size), Image.Resampling.BICUBIC).convert("RGB"))
