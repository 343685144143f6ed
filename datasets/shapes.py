"""Textured shapes on textured grounds, drawn by the program: a data set without a download whose objects' places are known.

A class is a shape with a texture. Place, size, angle, colours, ground and light are drawn anew for every image, so that
neither colour nor place tells a class, and every texture is also found on grounds, of ten times the area but fainter: who reads
the texture must find the object.
Images are functions of (split, number, size): the same on every machine, whatever the seed of a run.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from datasets.dataset import Source, Split
from datasets.decoded import decoded
from datasets.images import resized
from foundation.errors import UserError
from foundation.randomness import generator

PER_CLASS = {"train": 240, "test": 40}
RADII = 0.17, 0.22  # of the circle around a shape, in image heights: its box covers at most (2 * 0.22)^2 < 1/5 of the image
PERIODS = 0.07, 0.10  # of an object's texture, in image heights; those of grounds are up to twice as wide
VARIED = 0.5, 2.0  # resolutions at which "varied" images are drawn, in shares of their final one
GROUND_CONTRAST = 0.35  # of the two colours of a ground, as a share of an object's
NOISE = 8.0  # standard deviation of a pixel's noise, in grey levels
DRAWING = "2"  # raised when a change here makes other pixels


def load(request) -> Source:
    """Return all 25 classes at 64 pixels, or what `shapes:CLASSES` and `shapes:CLASSES-varied` ask for. Raises UserError."""
    count, is_varied = parse(request.argument)
    size = request.image_size or 64
    splits = {}
    for name, per_class in PER_CLASS.items():

        def read(i, name=name):
            scene = draw(name, i, count, size, is_varied)
            return scene.image, scene.label

        kind = "-varied" if is_varied else ""
        target = request.data_dir / "decoded" / f"shapes{count}{kind}-{name}-{size}-{DRAWING}"
        images, labels, _ = decoded(target, per_class * count, read, size, f"shapes ({name})")
        splits[name] = Split(images, labels, box_of=lambda i, name=name: draw(name, i, count, size, is_varied).box)
    return Source(splits["train"], class_names(count), test=splits["test"])


def parse(argument):
    """Return (number of classes, whether resolutions vary) of what follows `shapes:`, "shapes" for nothing. Raises UserError."""
    number, _, kind = argument.partition("-")
    number = str(len(SHAPES) * len(TEXTURES)) if number == "shapes" else number
    if not number.isascii() or not number.isdigit() or not 2 <= int(number) <= 25 or kind not in ("", "varied"):
        raise UserError(f"shapes:{argument} is no data set, allowed: shapes, shapes:2 to shapes:25, these with -varied")
    return int(number), kind == "varied"


def class_names(count=25) -> tuple[str, ...]:
    """Return names such as "striped star"; neighbouring classes share neither shape nor texture."""
    return tuple(f"{texture} {shape}" for shape, texture in (_parts(label) for label in range(count)))


def _parts(label):
    shapes, textures = list(SHAPES), list(TEXTURES)
    return shapes[label % 5], textures[(label // 5 + label) % 5]


@dataclass(frozen=True)
class Scene:
    """An image `(size, size, 3)` uint8, its label, and where its object is."""

    image: np.ndarray
    label: int
    mask: np.ndarray  # `(size, size)`: the share of each pixel that the object covers
    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels; the pixels of right and bottom are outside


def draw(split, number, count=25, size=64, is_varied=False) -> Scene:
    """Draw the image of that number in a split ("train" or "test") of `count` classes, as a Scene."""
    random = generator(0, f"shapes {split}", number)
    label = number % count
    shape, texture = _parts(label)
    radius = random.uniform(*RADII)
    x, y = random.uniform(radius, 1.0 - radius, 2)
    angle = random.uniform(0.0, 2.0 * np.pi)
    colours = _colours(random)
    own = TEXTURES[texture](random, random.uniform(*PERIODS))
    ground = TEXTURES[str(random.choice(list(TEXTURES)))](random, random.uniform(PERIODS[0], 2 * PERIODS[1]))
    ground_angle = random.uniform(0.0, 2.0 * np.pi)
    light = random.uniform(-40.0, 40.0, 2)

    resolution = round(size * np.exp(random.uniform(*np.log(VARIED)))) if is_varied else size
    middles = (np.arange(resolution) + 0.5) / resolution
    u, v = _turned(middles[None, :] - x, middles[:, None] - y, angle)
    mask = np.clip(0.5 - SHAPES[shape](u / radius, v / radius) * radius * resolution, 0.0, 1.0)
    inside = _painted(own(u, v), colours[0:2])
    outside = _painted(ground(*_turned(middles[None, :], middles[:, None], ground_angle)), colours[2:4])
    pixels = outside + mask[:, :, None] * (inside - outside)
    pixels += ((middles[None, :] - 0.5) * light[0] + (middles[:, None] - 0.5) * light[1])[:, :, None]
    pixels += random.normal(0.0, NOISE, pixels.shape)
    image = np.asarray(resized(Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")), size))
    mask = np.asarray(resized(Image.fromarray(mask.astype("float32")), size))
    covered = min(0.5, mask.max() / 2)  # at a few pixels' resolution an object may nowhere cover half a pixel
    rows, columns = np.flatnonzero(mask.max(1) > covered), np.flatnonzero(mask.max(0) > covered)
    return Scene(image, label, mask, (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def _turned(x, y, angle):
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _colours(random):
    """Return four colours: two of the object, nearly 60 levels of brightness apart or more, and two of its ground, more alike."""
    pairs = []
    for _ in range(2):
        pair = random.uniform(30.0, 225.0, (2, 3))
        pair[1] += np.sign(pair[1].mean() - pair[0].mean()) * max(60.0 - abs(pair[1].mean() - pair[0].mean()), 0.0)
        pairs.append(random.permutation(pair))
    pairs[1][1] = pairs[1][0] + GROUND_CONTRAST * (pairs[1][1] - pairs[1][0])
    return np.clip(np.concatenate(pairs), 0.0, 255.0)


def _painted(texture, colours):
    return colours[0] + texture[:, :, None] * (colours[1] - colours[0])


# Shapes: how far a point is outside, in radii of the circle around the shape (negative inside, exact near its edges).


def _disc(x, y):
    return np.hypot(x, y) - 1.0


def _polygon(x, y, corners, skipped=0):
    """Draw a polygon or star: corners on the circle, each joined to the next or, with one skipped, to the one after it.

    A point is outside a polygon when it is beyond one line, outside a star when it is beyond two.
    """
    angles = 2.0 * np.pi * np.arange(corners) / corners
    beyond = x * np.cos(angles)[:, None, None] + y * np.sin(angles)[:, None, None]
    return np.partition(beyond, corners - 1 - skipped, axis=0)[corners - 1 - skipped] - np.cos(np.pi * (1 + skipped) / corners)


def _cross(x, y):
    long, short = 0.95, np.sqrt(1.0 - 0.95**2)
    upright = np.maximum(np.abs(x) - short, np.abs(y) - long)
    return np.minimum(upright, np.maximum(np.abs(x) - long, np.abs(y) - short))


SHAPES = {
    "disc": _disc,
    "triangle": lambda x, y: _polygon(x, y, 3),
    "square": lambda x, y: _polygon(x, y, 4),
    "star": lambda x, y: _polygon(x, y, 5, skipped=1),
    "cross": _cross,
}


# Textures: functions from two random numbers to a function of coordinates in image heights that gives values from 0 to 1.


def _sharp(wave):
    """Return a wave from -1 to 1 with steeper flanks, from 0 to 1."""
    return 0.5 + 0.5 * np.tanh(2.5 * wave)


def _striped(random, period):
    phase = random.uniform(0.0, 2.0 * np.pi)
    return lambda x, y: _sharp(np.sin(2.0 * np.pi * x / period + phase))


def _checked(random, period):
    phases = random.uniform(0.0, 2.0 * np.pi, 2)
    wave = lambda x, phase: np.sin(2.0 * np.pi * x / (1.4 * period) + phase)  # noqa: E731
    return lambda x, y: _sharp(2.0 * wave(x, phases[0]) * wave(y, phases[1]))


def _dotted(random, period):
    shift = random.uniform(0.0, 1.0, 2)

    def dots(x, y):
        u, v = x / period + shift[0], y / period + shift[1]
        return _sharp(4.0 * (0.28 - np.hypot(u - np.round(u), v - np.round(v))))

    return dots


def _zigzag(random, period):
    phase = random.uniform(0.0, 1.0)

    def lines(x, y):
        tooth = np.abs((y / (2.0 * period) + phase) % 1.0 - 0.5)
        return _sharp(np.sin(2.0 * np.pi * (x / period + 2.0 * tooth)))

    return lines


def _speckled(random, period):
    """Smooth noise: random values on a lattice, in between weighted by distance."""
    lattice = random.uniform(-1.0, 1.0, (64, 64))

    def noise(x, y):
        u, v = 2.0 * x / period, 2.0 * y / period
        column, row = np.floor(u).astype(int), np.floor(v).astype(int)
        across, down = u - column, v - row
        at = lambda i, j: lattice[(row + i) % 64, (column + j) % 64]  # noqa: E731
        upper = at(0, 0) + across * (at(0, 1) - at(0, 0))
        lower = at(1, 0) + across * (at(1, 1) - at(1, 0))
        return _sharp(2.0 * (upper + down * (lower - upper)))

    return noise


TEXTURES = {
    "striped": _striped,
    "checked": _checked,
    "dotted": _dotted,
    "zigzag": _zigzag,
    "speckled": _speckled,
}
