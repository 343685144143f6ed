"""Twelve of the corruptions of Hendrycks & Dietterich 2019, for images of any size.

The paper has five strengths of each, with numbers for 224 pixels (ImageNet-C) and for 32 (CIFAR-10-C), of which 1, 3 and 5 are
used here. For sides between them the numbers are interpolated over the logarithm of the side; beyond, the nearer ones serve.
Lengths are pixels. The code is our own: blurs, fog and elastic warps are made as the paper describes them, not bit by bit.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage, signal, sparse

from datasets.images import opened
from foundation.randomness import generator

STRENGTHS = (1, 3, 5)
SIDES = 32, 224


@dataclass(frozen=True)
class Corruption:
    """`change(images, numbers, random)` takes and returns images `(N, H, W, C)` float64 in 0..1.

    `small` and `large` are its numbers for both SIDES, a row for each of STRENGTHS.
    """

    change: Callable
    small: tuple
    large: tuple

    def numbers(self, strength, side):
        """Return the numbers `(n,)` of a strength for images of this side."""
        share = float(np.clip(np.log(side / SIDES[0]) / np.log(SIDES[1] / SIDES[0]), 0.0, 1.0))
        small, large = (np.atleast_1d(rows[STRENGTHS.index(strength)]) for rows in (self.small, self.large))
        return small + share * (large - small)


def corrupt(images, kind, strength, seed=0):
    """Return images `(N, H, W, C)` uint8 under a corruption; the same images are changed in the same way every time."""
    corruption, random = CORRUPTIONS[kind], generator(seed, f"corruption {kind}", strength)
    changed = corruption.change(images / 255.0, corruption.numbers(strength, images.shape[1]), random)
    return np.rint(255.0 * np.clip(changed, 0.0, 1.0)).astype("uint8")


def _gaussian_noise(images, numbers, random):
    return images + random.normal(0.0, numbers[0], images.shape)


def _shot_noise(images, numbers, random):
    """Photons are counted: the less light, the more the count varies beside it."""
    return random.poisson(images * numbers[0]) / numbers[0]


def _impulse_noise(images, numbers, random):
    """Set so large a share of the values to 0 or 1."""
    drawn = random.random(images.shape)
    return np.where(drawn < numbers[0], np.where(drawn < numbers[0] / 2, 0.0, 1.0), images)


def _defocus_blur(images, numbers, random):
    """A point becomes a disc of this radius, with edges softened by a Gaussian of this deviation."""
    radius, soft = numbers
    reach = int(np.ceil(radius + 3 * soft))
    places = np.arange(-reach, reach + 1)
    disc = np.clip(radius + 0.5 - np.hypot(places[:, None], places[None, :]), 0.0, 1.0)
    kernel = ndimage.gaussian_filter(disc, soft, mode="constant")
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    return signal.fftconvolve(padded, (kernel / kernel.sum())[None, :, :, None], mode="valid", axes=(1, 2))


def _motion_blur(images, numbers, random):
    """A point becomes a line of this radius at -45 to 45 degrees, which fades by a Gaussian of this deviation."""
    radius, deviation = numbers
    count, height, width, _ = images.shape
    angles = np.deg2rad(random.uniform(-45.0, 45.0, count))
    distances = np.arange(2 * round(radius) + 1)
    weights = np.exp(-(distances**2) / (2 * deviation**2))
    weights /= weights.sum()
    reach = int(distances[-1])
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    blurred = np.zeros_like(images)
    for result, image, angle in zip(blurred, padded, angles, strict=True):
        for distance, weight in zip(distances, weights, strict=True):
            if weight > 1e-4:
                down, right = (reach + int(np.rint(distance * f(angle))) for f in (np.sin, np.cos))
                result += weight * image[down : down + height, right : right + width]
    return blurred


def _zoom_blur(images, numbers, random):
    """The mean of the image and of itself enlarged by factors from 1 to below this one, in such steps."""
    top, step = numbers
    count, height, width, channels = images.shape
    factors = np.arange(1.0, top, step)
    # one sparse matrix from all pixels to all pixels does what all enlargements do together
    total = sum(sparse.kron(*(_enlarging(side, factor) for side in (height, width)), "csr") for factor in factors)
    pixels = images.transpose(1, 2, 0, 3).reshape(height * width, count * channels)
    blurred = (pixels + total @ pixels) / (len(factors) + 1)
    return blurred.reshape(height, width, count, channels).transpose(2, 0, 1, 3)


def _enlarging(side, factor):
    """Return the sparse matrix `(side, side)` that enlarges a line of pixels by a factor around its middle (linear)."""
    middle = (side - 1) / 2
    places = middle + (np.arange(side) - middle) / factor
    return sparse.csr_array(np.maximum(1.0 - np.abs(places[:, None] - np.arange(side)), 0.0))


def _fog(images, numbers, random):
    """Fog of this thickness, which roughens by this factor less at each finer scale (diamond-square)."""
    thickness, decay = numbers
    count, height, width, _ = images.shape
    fog = _plasma(count, max(height, width), decay, random)[:, :height, :width, None]
    lightest = images.max((1, 2, 3), keepdims=True)
    return (images + thickness * fog) * lightest / (lightest + thickness)


def _plasma(count, side, decay, random):
    """Return maps `(count, S, S)` in 0..1 by the diamond-square algorithm, S the next power of two."""
    size = 1 << (side - 1).bit_length()
    maps, step, roughness = np.zeros((count, size, size)), size, 1.0
    while step >= 2:
        half = step // 2

        def drawn(sum_of_four):
            return sum_of_four / 4 + roughness * random.uniform(-1.0, 1.0, sum_of_four.shape)  # noqa: B023  used at once

        corners = maps[:, ::step, ::step]
        rows = corners + np.roll(corners, -1, 1)
        maps[:, half::step, half::step] = drawn(rows + np.roll(rows, -1, 2))
        middles = maps[:, half::step, half::step]
        maps[:, ::step, half::step] = drawn(middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 2))
        maps[:, half::step, ::step] = drawn(middles + np.roll(middles, 1, 2) + corners + np.roll(corners, -1, 1))
        step, roughness = half, roughness / decay**2  # the paper's code multiplies twice by what it divides
    maps -= maps.min((1, 2), keepdims=True)
    return maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-12)


def _brightness(images, numbers, random):
    """The value of the colour (HSV) is raised; hue and saturation stay."""
    value = images.max(3, keepdims=True)
    raised = np.minimum(value + numbers[0], 1.0)
    return np.where(value > 0, images * raised / np.where(value > 0, value, 1.0), raised)


def _contrast(images, numbers, random):
    """Values are drawn towards the image's mean colour, of which so large a share of the distance is left."""
    mean = images.mean((1, 2), keepdims=True)
    return mean + numbers[0] * (images - mean)


def _elastic(images, numbers, random):
    """Three points move by up to a share of the side, and each pixel by smooth noise: its height and width are shares too."""
    side = images.shape[1]
    height, smooth, moved = np.asarray(numbers) * side
    return np.stack([_warped(image, height, smooth, moved, random) for image in images])


def _warped(image, height, smooth, moved, random):
    side = np.array(image.shape[:2])
    middle, third = side // 2, min(side) // 3
    corners = middle + third * np.array([[1, 1], [1, -1], [-1, -1]])
    targets = corners + random.uniform(-moved, moved, corners.shape)
    affine = np.linalg.solve(np.column_stack([targets, np.ones(3)]), corners)  # reads where the target came from
    noise = (height * ndimage.gaussian_filter(random.uniform(-1.0, 1.0, side), smooth, mode="reflect") for _ in range(2))
    y, x = np.meshgrid(*map(np.arange, side), indexing="ij")
    down, right = noise if height else (0.0, 0.0)
    places = np.stack([y + down, x + right, np.ones_like(y, float)], -1) @ affine
    read = (places[..., 0], places[..., 1])
    return np.stack([ndimage.map_coordinates(channel, read, order=1, mode="mirror") for channel in np.moveaxis(image, -1, 0)], -1)


def _pixelate(images, numbers, random):
    """Shrunk to so large a share of the side, and enlarged again, by boxes."""

    def pixelated(image):
        small = [max(int(side * numbers[0]), 1) for side in image.size]
        return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BOX)

    return _by_pillow(images, pixelated)


def _jpeg(images, numbers, random):
    """Compressed as JPEG with this quality."""

    def compressed(image):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=round(numbers[0]))
        with opened(file) as found:
            return found.copy()

    return _by_pillow(images, compressed)


def _by_pillow(images, change):
    found = []
    for image in np.rint(255.0 * images).astype("uint8"):
        changed = np.asarray(change(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)))
        found.append(changed.reshape(image.shape) / 255.0)
    return np.stack(found)


CORRUPTIONS = {
    "gaussian noise": Corruption(_gaussian_noise, (0.04, 0.08, 0.10), (0.08, 0.18, 0.38)),
    "shot noise": Corruption(_shot_noise, (500, 100, 50), (60, 12, 3)),
    "impulse noise": Corruption(_impulse_noise, (0.01, 0.03, 0.07), (0.03, 0.09, 0.27)),
    "defocus blur": Corruption(_defocus_blur, ((0.3, 0.4), (0.5, 0.6), (1.5, 0.1)), ((3, 0.1), (6, 0.5), (10, 0.5))),
    "motion blur": Corruption(_motion_blur, ((6, 1), (6, 2), (9, 2.5)), ((10, 3), (15, 8), (20, 15))),
    "zoom blur": Corruption(_zoom_blur, ((1.06, 0.01), (1.16, 0.01), (1.26, 0.01)), ((1.11, 0.01), (1.21, 0.02), (1.31, 0.03))),
    "fog": Corruption(_fog, ((0.2, 3), (0.75, 2.5), (1.5, 1.75)), ((1.5, 2), (2.5, 1.7), (3, 1.4))),
    "brightness": Corruption(_brightness, (0.05, 0.15, 0.3), (0.1, 0.3, 0.5)),
    "contrast": Corruption(_contrast, (0.75, 0.4, 0.15), (0.4, 0.2, 0.05)),
    "elastic warp": Corruption(
        _elastic, ((0, 0, 0.08), (0.08, 0.06, 0.06), (0.1, 0.03, 0.03)), ((0, 0, 0.1), (0.05, 0.01, 0.02), (0.12, 0.01, 0.02))
    ),
    "pixelate": Corruption(_pixelate, (0.95, 0.85, 0.65), (0.6, 0.4, 0.25)),
    "jpeg": Corruption(_jpeg, (80, 58, 40), (25, 15, 7)),
}
