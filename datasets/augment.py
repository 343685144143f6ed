"""Augmentation of whole batches on the device. NumPy draws (by address), Keras operations apply: equal on every backend."""

from dataclasses import dataclass

import numpy as np
from keras import ops

from datasets.upload import to_device
from foundation import keras_defaults  # noqa: F401  no keras.json is obeyed
from foundation.errors import UserError


@dataclass(frozen=True)
class Augmentation:
    """Settings of the augmentation of training images; config.py explains each."""

    augment: str = "standard"
    max_shift: int = 4
    padding: str = "zero"
    mirror: str = "random"
    start_size: int = 0
    growth_epochs: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def check(self, image_shape):
        """Raise a UserError if images `(H, W, C)` are too small for `max_shift` or for `start_size`."""
        height, width = image_shape[:2]
        if self.max_shift >= min(height, width):
            raise UserError(f"max_shift is {self.max_shift}, allowed: below the images' height and width, {height}x{width}")
        if self.start_size > height:
            raise UserError(f"start_size is {self.start_size}, allowed: at most the images' own size, {height}")

    def height_at(self, epoch, full):
        """Return the height of images in an epoch, counted from 0.

        It is `start_size` at first, grows by 4 pixels at even intervals, and is `full` from epoch `growth_epochs` on.
        """
        if not self.start_size or epoch >= self.growth_epochs:
            return full
        sizes = -(-(full - self.start_size) // 4)  # below the full one
        return self.start_size + 4 * int(sizes * epoch / self.growth_epochs)


def draw_shifts(random, count, max_shift, mirrored):
    """Draw how far each image is moved down and to the right, and whether it is mirrored, each `(N, 1)`.

    Shifts are drawn from -max_shift to max_shift pixels (He et al. 2015, section 4.2: pad 4 on each side, crop at random).
    `mirrored` says it, or is None; then each image is mirrored with probability 1/2.
    """
    down, right = (random.integers(-max_shift, max_shift + 1, (count, 1), dtype="int64") for _ in range(2))
    return down, right, random.random((count, 1)) < 0.5 if mirrored is None else mirrored


def window(down, right, mirrored, height, width, padding):
    """Return the rows `(N, H)` and columns `(N, W)` to read from each image; a mirrored one is read from right to left.

    Positions beyond the border are -1 with zero padding; with `padding="reflect"` they are reflected.
    """
    rows, columns = np.arange(height) + down, np.arange(width) + right
    columns = np.where(mirrored, width - 1 - columns, columns)
    place = reflected if padding == "reflect" else _mark_outside
    return place(rows, height).astype("int32"), place(columns, width).astype("int32")


def reflected(positions, size):
    """Return positions reflected at the border pixel, which is not repeated: -1 becomes 1, `size` becomes `size - 2`."""
    positions = np.abs(positions)
    return np.where(positions >= size, 2 * (size - 1) - positions, positions)


def _mark_outside(positions, size):
    return np.where((positions < 0) | (positions >= size), -1, positions)


def apply_window(images, rows, columns):
    """Return `images[n, rows[n, i], columns[n, j]]`, `(N, H, W, C)`. Pixels read at position -1 are left to `erase_outside`.

    Arrays of numpy stay arrays: on a CPU numpy moves whole pixels several times as fast as the backends' operations do.
    """
    count, height, width, channels = images.shape
    lines = (np.arange(count, dtype="int32")[:, None] * height + np.maximum(rows, 0)) * width
    if isinstance(images, np.ndarray):
        pixels = images.reshape(-1).view(f"V{channels * images.itemsize}")
        found = pixels.take(lines[:, :, None] + np.maximum(columns, 0)[:, None, :], mode="clip")  # all are inside: don't ask
        return found.view(images.dtype).reshape(images.shape)
    index = to_device(lines[:, :, None]) + to_device(np.maximum(columns, 0)[:, None, :])
    return ops.take(ops.reshape(images, (count * height * width, channels)), index, axis=0)


def erase_outside(images, rows, columns):
    """Set pixels to 0 where a position of a window is -1; in place where images are an array of numpy."""
    if isinstance(images, np.ndarray):
        images[rows < 0] = 0.0
        images.transpose(0, 2, 1, 3)[columns < 0] = 0.0
        return images
    if rows.min() < 0:
        images = images * to_device((rows >= 0).astype("float32")[:, :, None, None])
    if columns.min() < 0:
        # The mask holds a value per channel too, because processors multiply whole lines fast.
        inside = np.repeat((columns >= 0).astype("float32")[:, None, :, None], images.shape[-1], axis=3)
        images = images * to_device(inside)
    return images


def shrink(images, height):
    """Resize images `(N, H, W, C)` to a smaller height and a proportional width (bilinear, with antialiasing)."""
    size = height, images.shape[2] * height // images.shape[1]
    return ops.image.resize(images, size, interpolation="bilinear", antialias=True, data_format="channels_last")


def draw_mix(random, count, height, width, mixup_alpha, cutmix_alpha):
    """Draw (partner `(N,)`, share of the image that stays, mask `(1, H, W, 1)` or None for mixup); one alpha at least is not 0.

    If both are on, each batch draws one of them with equal probability.
    """
    use_mixup = random.random() < 0.5 if mixup_alpha and cutmix_alpha else bool(mixup_alpha)
    alpha = mixup_alpha if use_mixup else cutmix_alpha
    partner, share = random.permutation(count).astype("int32"), random.beta(alpha, alpha)
    if use_mixup:
        return partner, np.float32(share), None
    mask = _outside_box(random, height, width, share)
    return partner, np.float32(mask.mean()), mask


def _outside_box(random, height, width, share):
    """Return a mask: 0 in a box of area 1 - share, cut at the border, and 1 where the image stays (Yun et al. 2019, eq. 2)."""
    side = np.sqrt(1.0 - share)
    middle_y, middle_x = random.integers(height), random.integers(width)
    half_y, half_x = int(height * side) // 2, int(width * side) // 2
    mask = np.ones((1, height, width, 1), "float32")
    mask[:, max(middle_y - half_y, 0) : middle_y + half_y, max(middle_x - half_x, 0) : middle_x + half_x] = 0.0
    return mask


def apply_mix(images, labels, *mixes):
    """Mix images and their label vectors with their partners: mixup (Zhang et al. 2018, eq. 1) or CutMix.

    `images` are those of one or several batches, one after the other; `mixes` holds the mix of each batch. Returns as many
    images as there are partners. A single batch may hold more images, which serve only as partners.
    """
    starts = np.cumsum([0, *(len(partner) for partner, *_ in mixes[:-1])])
    partner = np.concatenate([start + own for start, (own, *_) in zip(starts, mixes, strict=True)]).astype("int32")
    stays, share = _stays(mixes)
    mixed = images[: len(partner)] * stays + ops.take(images, to_device(partner), axis=0) * (1.0 - stays)
    return mixed, labels[: len(partner)] * share + labels[partner] * (1.0 - share)


def _stays(mixes):
    """Return the share of the images that stays (a number, or one for each pixel) and the share of the labels."""
    if len(mixes) == 1:
        ((_, share, mask),) = mixes
        return (share if mask is None else to_device(mask)), share
    counts = [len(partner) for partner, *_ in mixes]
    size = next((mask.shape for *_, mask in mixes if mask is not None), (1, 1, 1, 1))
    masks = np.concatenate([np.full(size, share, "float32") if mask is None else mask for _, share, mask in mixes])
    step_of = np.repeat(np.arange(len(mixes), dtype="int32"), counts)
    shares = np.array([share for _, share, _ in mixes], "float32")
    return ops.take(to_device(masks), to_device(step_of), axis=0), shares[step_of][:, None]
