"""A linear probe of the untrained network: whether labels have to do with images, and with the same classes in every split.

Random convolutions tell textures and shapes apart well enough for a linear classifier to be far from chance (Saxe et al. 2011).
So it takes no training to find labels that belong to no image.
"""

from dataclasses import dataclass

import numpy as np
from keras import ops
from scipy import stats

from datasets.batches import Batches
from foundation.randomness import generator
from lab.optimizers.lists import unrecorded
from lab.training.evaluation import confusion_matrix
from lab.trust.data_checks import sample_of
from lab.trust.findings import finding
from models.blocks import ResidualBlock

IMAGES = {"train": 2000, "val": 1000}  # that are looked at, at most
BYTES = 128 << 20  # of their pixels, in a split
FEWEST = 200  # images, however long they take
PIXELS = 8  # a side of the small copy of an image that the probe sees besides features
PENALTY = 100.0  # of the ridge regression, for features of deviation 1
FOLDS, SHUFFLES = 5, 999
LIKELY = 0.001  # p from which on labels may be shuffled, for all that the probe knows
CROSSED = 0.01  # p, over all pairs of classes, below which two classes are swapped


@dataclass(frozen=True)
class Probe:
    """Answers of the probe: to train's images by probes that did not see them, to val's by one that saw train."""

    train: tuple[np.ndarray, np.ndarray]  # (labels, answers), each `(N,)`
    val: tuple[np.ndarray, np.ndarray]
    class_names: tuple[str, ...]


def probe(model, dataset, share=1.0) -> Probe:
    """Return the Probe of a network with its initial weights, on this share of the images that it looks at otherwise."""
    splits = [sample_of(dataset.splits[name], max(int(share * most), FEWEST), BYTES) for name, most in IMAGES.items()]
    (train, labels), (val, val_labels) = [(features_of(model, dataset, split), split.labels) for split in splits]
    middle, deviation = train.mean(0), train.std(0)
    deviation[deviation < 1e-6 * max(1.0, np.abs(middle).max())] = np.inf  # a feature without variation tells nothing
    train, val = (train - middle) / deviation, (val - middle) / deviation
    answers = np.empty(len(labels), "int64")
    fold = generator(0, "folds of the probe").permutation(len(labels)) % FOLDS
    for i in range(FOLDS):
        answers[fold == i] = _answers(train[fold != i], labels[fold != i], train[fold == i], dataset.classes)
    return Probe((labels, answers), (val_labels, _answers(train, labels, val, dataset.classes)), dataset.class_names)


def features_of(model, dataset, split):
    """Return float64 `(N, features)`: mean, mean square and maximum of every channel after stem and blocks, and a small copy."""
    batches, rows = Batches(dataset, split), []
    with unrecorded():
        for i in range(len(batches)):
            images, parts = batches[i][0], []

            def noted(layer, call, x, parts=parts):
                output = call(x)
                if len(output.shape) == 4 and (isinstance(layer, ResidualBlock) or layer.name == "stem_conv"):
                    maps = ops.cast(output, "float32")
                    parts += [ops.mean(maps, (1, 2)), ops.mean(ops.square(maps), (1, 2)), ops.max(maps, (1, 2))]
                return output

            model.run(images, noted)
            rows.append(np.concatenate([*map(ops.convert_to_numpy, parts), _small(ops.convert_to_numpy(images))], 1))
    return np.nan_to_num(np.concatenate(rows).astype("float64"))


def _small(images):
    """Return images `(N, H, W, C)` as `(N, PIXELS * PIXELS * C)` means of tiles."""
    for axis in (1, 2):
        edges = np.linspace(0, images.shape[axis], PIXELS + 1).astype(int)
        images = np.add.reduceat(images, edges[:-1], axis) / np.diff(edges).reshape([-1 if i == axis else 1 for i in range(4)])
    return images.reshape(len(images), -1)


def _answers(seen, labels, asked, classes):
    """Return the classes `(N,)` of `asked` by ridge regression of the labels' vectors."""
    targets = np.eye(classes)[labels]
    middle = targets.mean(0)
    if len(seen) < seen.shape[1]:  # fewer equations in the dual
        weights = seen.T @ np.linalg.solve(seen @ seen.T + PENALTY * np.eye(len(seen)), targets - middle)
    else:
        weights = np.linalg.solve(seen.T @ seen + PENALTY * np.eye(seen.shape[1]), seen.T @ (targets - middle))
    return (asked @ weights + middle).argmax(1)


def check_labels(found):
    """Labels have to do with images: the probe is right more often than with shuffled labels."""
    labels, answers = found.train
    random, accuracy = generator(0, "shuffled labels"), float((labels == answers).mean())
    shuffled = np.array([(random.permutation(labels) == answers).mean() for _ in range(SHUFFLES)])
    p = (1 + int((shuffled >= accuracy).sum())) / (1 + SHUFFLES)
    sentence = (
        f"a linear probe of the untrained network names {100 * accuracy:.1f} % of train, {100 * shuffled.mean():.1f} % where "
        f"labels are shuffled (p {p:.3f})"
    )
    is_well = p <= LIKELY
    if not is_well:
        sentence += (
            ": labels have nothing to do with the images, as if they were shuffled (or they are harder than a probe can see)"
        )
    return finding("labels and images", is_well, sentence, accuracy=accuracy, chance=float(shuffled.mean()), p=p)


def check_classes(found):
    """Classes are the same in train and val: no two of them are taken for one another more often than for themselves."""
    name = "classes of val"
    labels, answers = found.val
    confusion = confusion_matrix(np.eye(len(found.class_names))[answers], labels)
    accuracy, expected = float((labels == answers).mean()), float((found.train[0] == found.train[1]).mean())
    sentence = f"the probe of train names {100 * accuracy:.1f} % of val ({100 * expected:.1f} % of train, held out)"
    swapped = _swapped(confusion)
    if swapped is not None:
        one, other = (found.class_names[label] for label in swapped)
        sentence += f": val's images of {one} and {other} look like each other's of train, these classes are swapped"
    right = int((labels == answers).sum())
    is_unlike = swapped is None and stats.binom.cdf(right, len(labels), expected / 2) < LIKELY
    if is_unlike:
        sentence += ": less than half as many, so val has other labels or other images than train"
    return finding(name, swapped is None and not is_unlike, sentence, accuracy=accuracy, expected=expected)


def _swapped(confusion):
    """Return the pair of classes that are crossed most clearly, or None if chance may have crossed them (exact sign test)."""
    classes = len(confusion)
    own = np.diag(confusion)
    straight, crossed = own[:, None] + own[None, :], confusion + confusion.T
    p = stats.binom.sf(crossed - 1, straight + crossed, 0.5)
    np.fill_diagonal(p, 1.0)
    place = np.unravel_index(p.argmin(), p.shape)
    return place if p[place] * classes * (classes - 1) / 2 < CROSSED else None
