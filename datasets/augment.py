"""Augmentation of whole batches on the device. NumPy draws (by address), Keras operations apply: the same on every backend."""

from dataclasses import dataclass

import numpy as np
from keras import ops

import keras_defaults  # noqa: F401  no keras.json is obeyed
from datasets.upload import to_device
from errors import UserError


@dataclass(frozen=True)
class Augmentation:
    """What training does to images; config.py says what each of these settings is."""

    augment: str = "standard"
    max_shift: int = 4
    padding: str = "zero"
    mirror: str = "random"
    start_size: int = 0
    growth_epochs: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def check(self, image_shape):
        """Raises a UserError where images `(H, W, C)` are too small to be shifted so far, or to begin at that size."""
        height, width = image_shape[:2]
        if self.max_shift >= min(height, width):
            raise UserError(f"max_shift is {self.max_shift}, allowed: below the images' height and width, {height}x{width}")
        if self.start_size > height:
            raise UserError(f"start_size is {self.start_size}, allowed: at most the images' own size, {height}")

    def height_at(self, epoch, full):
        """Of images in an epoch, counted from 0: `start_size`, then 4 pixels more at even intervals, `full` after growth."""
        if not self.start_size or epoch >= self.growth_epochs:
            return full
        sizes = -(-(full - self.start_size) // 4)  # below the full one
        return self.start_size + 4 * int(sizes * epoch / self.growth_epochs)


def draw_window(random, count, height, width, max_shift, mirrored, padding):
    """Rows `(N, H)` and columns `(N, W)` to read from each image: shifted, those `mirrored` `(N, 1)` from right to left.

    Shifts are drawn from -max_shift to max_shift pixels (He et al. 2015, section 4.2: pad 4 on each side, crop at random), and
    with even chances which images are mirrored, where `mirrored` is None.
    Positions beyond the border are -1 with zero padding, and reflected ones with `padding="reflect"`.
    """
    rows = np.arange(height) + random.integers(-max_shift, max_shift + 1, (count, 1))
    columns = np.arange(width) + random.integers(-max_shift, max_shift + 1, (count, 1))
    if mirrored is None:
        mirrored = random.random((count, 1)) < 0.5
    columns = np.where(mirrored, width - 1 - columns, columns)
    place = reflected if padding == "reflect" else _mark_outside
    return place(rows, height).astype("int32"), place(columns, width).astype("int32")


def reflected(positions, size):
    """Positions mirrored at the border pixel, which is not repeated: -1 is 1, `size` is `size - 2`."""
    positions = np.abs(positions)
    return np.where(positions >= size, 2 * (size - 1) - positions, positions)


def _mark_outside(positions, size):
    return np.where((positions < 0) | (positions >= size), -1, positions)


def apply_window(images, rows, columns):
    """Reads `images[n, rows[n, i], columns[n, j]]`, `(N, H, W, C)`; what a position of -1 reads, `erase_outside` is to erase."""
    count, height, width, channels = images.shape
    lines = (np.arange(count, dtype="int32")[:, None] * height + np.maximum(rows, 0)) * width
    index = to_device(lines[:, :, None]) + to_device(np.maximum(columns, 0)[:, None, :])
    return ops.take(ops.reshape(images, (count * height * width, channels)), index, axis=0)


def erase_outside(images, rows, columns):
    """0 where a position of a window is -1."""
    if rows.min() < 0:
        images = images * to_device((rows >= 0).astype("float32")[:, :, None, None])
    if columns.min() < 0:
        # One value per channel too: multiplying whole lines is what processors do fast.
        inside = np.repeat((columns >= 0).astype("float32")[:, None, :, None], images.shape[-1], axis=3)
        images = images * to_device(inside)
    return images


def shrink(images, height):
    """Images `(N, H, W, C)` at that height and proportionally narrower; as they shrink they are smoothed (bilinear)."""
    size = height, images.shape[2] * height // images.shape[1]
    return ops.image.resize(images, size, interpolation="bilinear", antialias=True, data_format="channels_last")


def draw_mix(random, count, height, width, mixup_alpha, cutmix_alpha):
    """(partner `(N,)`, share of the image that stays, mask `(1, H, W, 1)` or None for mixup), or None where neither is on.

    With both on, each batch draws one of them with equal chance.
    """
    if not mixup_alpha and not cutmix_alpha:
        return None
    use_mixup = random.random() < 0.5 if mixup_alpha and cutmix_alpha else bool(mixup_alpha)
    alpha = mixup_alpha if use_mixup else cutmix_alpha
    partner, share = random.permutation(count).astype("int32"), random.beta(alpha, alpha)
    if use_mixup:
        return partner, np.float32(share), None
    mask = _outside_box(random, height, width, share)
    return partner, np.float32(mask.mean()), mask


def _outside_box(random, height, width, share):
    """1 where the image stays, 0 in a box of area 1 - share, cut at the border (Yun et al. 2019, eq. 2)."""
    side = np.sqrt(1.0 - share)
    middle_y, middle_x = random.integers(height), random.integers(width)
    half_y, half_x = int(height * side) // 2, int(width * side) // 2
    mask = np.ones((1, height, width, 1), "float32")
    mask[:, max(middle_y - half_y, 0) : middle_y + half_y, max(middle_x - half_x, 0) : middle_x + half_x] = 0.0
    return mask


def apply_mix(images, labels, *mixes):
    """Mixes images and their label vectors with their partners': mixup (Zhang et al. 2018, eq. 1) or CutMix.

    `mixes` are those of the batches that the images are, one after the other. Returns as many images as there are partners;
    of a single batch there may be more, which only serve as such.
    """
    starts = np.cumsum([0, *(len(partner) for partner, *_ in mixes[:-1])])
    partner = np.concatenate([start + own for start, (own, *_) in zip(starts, mixes, strict=True)]).astype("int32")
    stays, share = _stays(mixes)
    mixed = images[: len(partner)] * stays + ops.take(images, to_device(partner), axis=0) * (1.0 - stays)
    return mixed, labels[: len(partner)] * share + labels[partner] * (1.0 - share)


def _stays(mixes):
    """What stays of the images, a number or for each pixel, and of the labels."""
    if len(mixes) == 1:
        ((_, share, mask),) = mixes
        return (share if mask is None else to_device(mask)), share
    counts = [len(partner) for partner, *_ in mixes]
    size = next((mask.shape for *_, mask in mixes if mask is not None), (1, 1, 1, 1))
    masks = np.concatenate([np.full(size, share, "float32") if mask is None else mask for _, share, mask in mixes])
    step_of = np.repeat(np.arange(len(mixes), dtype="int32"), counts)
    shares = np.array([share for _, share, _ in mixes], "float32")
    return ops.take(to_device(masks), to_device(step_of), axis=0), shares[step_of][:, None]
