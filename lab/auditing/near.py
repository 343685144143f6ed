"""Near duplicates: pairs of pictures that show the same, also resized, compressed, brighter, mirrored or cropped by up to 5 %.

A picture is described as by a perceptual hash (pHash: Zauner 2010, section 3.2.1): by the low frequencies of its cosine
transform. These are not reduced to signs but kept as numbers and weighed by their frequency, because the amplitudes of natural
pictures fall as 1 / frequency (Field 1987). The length and the constant part are divided out, and with them contrast and
brightness. Mirroring changes the sign of the odd horizontal frequencies. Crops are found by trying: the descriptor of each
picture within several windows is compared with those of all whole pictures.

A first comparison of all pairs, by few frequencies, proposes at most PROPOSED partners for a picture; a second one, by more
frequencies and windows, decides. The limit follows from the cosine that is usual for a picture's PROPOSED nearest partner.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

SIDE = 48  # pixels of the small grey pictures that are compared
COARSE, FINE = 8, 16  # frequencies in each direction
COARSE_MARGINS = ((0.0, 0.0), (0.025, 0.025), (0.05, 0.05))  # shares of the side that a window leaves out on both ends
FINE_MARGINS = tuple(product((0.0, 0.025, 0.05), repeat=2))
ALIKE_COARSE, ALIKE = 0.8, 0.85  # cosines of descriptors from which a pair is proposed, and is found
NEARER = 0.5  # where pictures are alike without being the same (scans of digits), the limit is 1 - NEARER * (1 - usual)^2
SLACK = 0.07  # by so much the cosine of the first comparison may be below the limit
PROPOSED = 10
ROWS = 1024  # pictures compared with all others at once
CHECKED = 256  # pairs compared at once in the second comparison


@dataclass(frozen=True)
class Pairs:
    """Pairs of similar pictures: places `(P,)` of the first and the second one, first < second, and how they are related."""

    first: np.ndarray
    second: np.ndarray
    likeness: np.ndarray  # cosine of their descriptors, of the windows that fit best
    is_mirrored: np.ndarray


def near_duplicates(small) -> Pairs:
    """Return the Pairs of small grey pictures `(N, SIDE, SIDE)` uint8, each once. Pictures of one colour have no partner."""
    proposed, usual = _proposed(small)
    limit = max(ALIKE, 1.0 - NEARER * (1.0 - usual) ** 2)
    pairs = np.array(sorted(pair for pair, alike in proposed.items() if alike >= limit - SLACK), "int64").reshape(-1, 3)
    first, second, mirrored = pairs[:, 0], pairs[:, 1], pairs[:, 2].astype(bool)
    likeness = np.zeros(len(pairs), "float32")
    for start in range(0, len(pairs), CHECKED):
        part = slice(start, start + CHECKED)
        likeness[part] = _likeness(small[first[part]], small[second[part]], mirrored[part])
    order = np.argsort(-likeness, kind="stable")  # of a pair that is alike in both ways the better one counts
    _, places = np.unique(pairs[order, :2], axis=0, return_index=True)
    kept = order[places]
    kept = kept[likeness[kept] >= limit]
    return Pairs(first[kept], second[kept], likeness[kept], mirrored[kept])


def _proposed(small):
    """Return ({(first, second, whether mirrored): cosine} of the first comparison, the usual cosine of the PROPOSED nearest)."""
    whole = _descriptors(small, COARSE, [(0.0, 0.0)], [(0.0, 0.0)])[0]
    mirror = np.tile((-1.0) ** np.arange(COARSE), COARSE)[1:].astype("float32")
    best, usual = {}, []
    for start in range(0, len(small), ROWS):
        windows = _descriptors(small[start : start + ROWS], COARSE, COARSE_MARGINS, COARSE_MARGINS)
        for is_mirrored, sign in ((False, 1.0), (True, mirror)):
            alike = np.full((windows.shape[1], len(small)), -1.0, "float32")
            for window in windows:
                np.maximum(alike, (window * sign) @ whole.T, out=alike)
            alike[np.arange(len(alike)), np.arange(start, start + len(alike))] = -1.0
            columns, values = _largest(alike)
            usual.append(values.min(1))
            for i, k in zip(*np.nonzero(values >= ALIKE_COARSE), strict=True):
                pair = (*sorted((start + int(i), int(columns[i, k]))), is_mirrored)
                best[pair] = max(best.get(pair, -1.0), float(values[i, k]))
    return best, float(np.median(np.concatenate(usual)))


def _largest(alike):
    """Return (columns, values) of each row's PROPOSED largest values, in no order."""
    several = min(PROPOSED, alike.shape[1])
    columns = np.argpartition(alike, -several, axis=1)[:, -several:]
    return columns, np.take_along_axis(alike, columns, 1)


def _likeness(first, second, mirrored):
    """Return the largest cosine `(P,)` between a window of one picture of each pair and the whole of the other."""
    second = np.where(mirrored[:, None, None], second[:, :, ::-1], second)
    whole = [(0.0, 0.0)]
    best = np.full(len(first), -1.0, "float32")
    for cropped, other in ((first, second), (second, first)):
        target = _descriptors(other, FINE, whole, whole)[0]
        windows = _descriptors(cropped, FINE, FINE_MARGINS, FINE_MARGINS)
        best = np.maximum(best, np.einsum("wpd,pd->wp", windows, target).max(0))
    return best


def _descriptors(small, frequencies, rows, columns):
    """Return unit vectors `(windows, N, frequencies^2 - 1)` of pictures within the windows of all margins of rows and columns."""
    vertical = np.stack([_transform(frequencies, *margins) for margins in rows])
    horizontal = np.stack([_transform(frequencies, *margins) for margins in columns])
    waves = np.arange(frequencies)
    weight = np.hypot(waves[:, None], waves).astype("float32")
    half = np.einsum("wfy,nyx->wnfx", vertical, small.astype("float32"), optimize=True)
    found = np.einsum("wnfx,vgx->wvnfg", half, horizontal, optimize=True) * weight
    found = found.reshape(len(rows) * len(columns), len(small), -1)[:, :, 1:]
    length = np.linalg.norm(found, axis=2, keepdims=True)
    return found / np.where(length < 1e-3, np.inf, length)


def _transform(frequencies, before, after):
    """Return the cosine transform `(frequencies, SIDE)` of what a window, which leaves out these shares, shows of a line."""
    low, high = before * SIDE, (1.0 - after) * SIDE
    edges = np.linspace(low, high, 2 * FINE + 1)
    covered = np.minimum(edges[1:, None], np.arange(1, SIDE + 1)) - np.maximum(edges[:-1, None], np.arange(SIDE))
    resampled = np.maximum(covered, 0.0) / (edges[1] - edges[0])
    waves, places = np.arange(frequencies)[:, None], (np.arange(2 * FINE) + 0.5) / (2 * FINE)
    basis = np.cos(np.pi * waves * places) * np.where(waves == 0, np.sqrt(0.5), 1.0)
    return (basis @ resampled / FINE).astype("float32")
