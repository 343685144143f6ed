"""Pictures of no class of a network: how well their lower confidence tells them apart (Hendrycks & Gimpel 2017)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from datasets.access import looking
from datasets.catalog import load, pool_of
from datasets.dataset import Request, Split
from datasets.images import as_grey
from foundation.errors import UserError
from lab.trust.data_checks import sample_of

IMAGES = 500  # of a set, at most
PIXELS = IMAGES * 64 * 64  # of the shapes, which are drawn here
USUAL = ("shapes", "digits")  # sets that come with the program


@dataclass(frozen=True)
class Area:
    """Area under the ROC curve: the chance that an image of a class has more confidence than one of none; 0.5 is guessing."""

    value: float
    interval: tuple[float, float]


def area_of(known, unlike) -> Area:
    """Return the Area of confidences `(N,)` of images of classes and of others, with its 95 % interval (DeLong et al. 1988)."""
    ranks = stats.rankdata(np.concatenate([known, unlike]))
    n, m = len(known), len(unlike)
    below = (ranks[:n] - stats.rankdata(known)) / m  # of each known image, the share of others with less confidence
    above = 1.0 - (ranks[n:] - stats.rankdata(unlike)) / n
    value = float(below.mean())
    error = np.sqrt(sum(part.var(ddof=1) / len(part) for part in (below, above) if len(part) > 1))
    return Area(value, (max(value - 1.96 * error, 0.0), min(value + 1.96 * error, 1.0)))


def sets_for(config, named):
    """Return the names of the data sets that a run is confronted with: those named, else USUAL without its own.

    Raises UserError for a set whose images are the run's own.
    """
    own = pool_of(config.dataset)
    if named:
        for name in named:
            if pool_of(name) == own:
                raise UserError(f"--unlike {name} is the run's own data set, allowed: a set that shows none of its classes")
        return list(named)
    return [name for name in USUAL if pool_of(name) != own]


def images_unlike(name, config, image_shape):
    """Return images `(n, H, W, C)` uint8 of a data set, as the run's are: of a given name its test split, evenly spaced.

    Downloads nothing. Raises UserError.
    """
    size, channels = image_shape[0], image_shape[-1]
    if name == "shapes":
        from datasets.shapes import draw

        count = max(min(IMAGES, PIXELS // size**2), 100)
        images = np.stack([draw("test", i, size=size).image for i in range(count)])
        return images if channels == 3 else as_grey(images)
    if name == "digits":
        from datasets.digits import load as load_digits

        source = load_digits(Request(name, Path(), size))
        return sample_of((source if channels == 3 else source.in_grey()).train, IMAGES).read()
    with looking():
        return sample_of(load(name, config.data_dir, image_size=size, colour=config.colour).test, IMAGES).read()


def as_split(images) -> Split:
    """Return images of no class as a split; their labels mean nothing."""
    return Split(images, np.zeros(len(images), "int64"))
