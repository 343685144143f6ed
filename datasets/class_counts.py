"""Numbers of images of each class in a data set's splits, and warnings if they are small or unequal."""

import numpy as np

FEW = 10  # images of a class in a split; below that, a single image is many percent of its class
UNEQUAL = 5  # times as many images in the largest class of train as in the smallest
SHOWN = 30  # maximum number of classes in the table


def counts_of(dataset):
    """Return the number of images of each class in train, val and test, `(classes, 3)`."""
    return np.stack([np.bincount(s.labels, minlength=dataset.classes) for s in (dataset.train, dataset.val, dataset.test)], 1)


def notes_on_counts(dataset, class_weights) -> list[str]:
    """Return lines that a user should read before training on few images, or on classes of unequal size."""
    counts = counts_of(dataset)
    lines = _table(counts, dataset.class_names) if counts.min() < FEW else []
    train = counts[:, 0]
    if class_weights == "none" and train.max() >= UNEQUAL * train.min() > 0:
        small, large = dataset.class_names[train.argmin()], dataset.class_names[train.argmax()]
        lines.append(
            f"note: train has {train.max():,} images of {large} and {train.min():,} of {small}; "
            "--class-weights balanced makes classes count alike"
        )
    return lines


def _table(counts, class_names):
    order = np.argsort(counts.min(1), kind="stable")[:SHOWN] if len(counts) > SHOWN else np.arange(len(counts))
    width = max(len("images of"), *(len(class_names[i]) for i in order))
    lines = [f"note: some splits have fewer than {FEW} images of a class, where one image is many percent"]
    lines.append(f"{'images of':{width}} {'train':>7} {'val':>7} {'test':>7}")
    lines += [f"{class_names[i]:{width}} " + " ".join(f"{count:7,}" for count in counts[i]) for i in order]
    return lines + ([f"and {len(counts) - SHOWN} more classes, with as many or more"] if len(counts) > SHOWN else [])
