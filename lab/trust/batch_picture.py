"""The first batch of a run as its network sees it: augmented, mixed, scaled, with its labels."""

import numpy as np
from keras import ops

from datasets.batches import TrainingBatches
from foundation.style import literal_lines, sheet
from lab.training.fitting import augmentation_of

SHOWN, COLUMNS = 24, 6
LEAST = 0.005  # share of a label that is written out


def first_batch(config, dataset):
    """Return images `(n, H, W, C)` as the network gets them and label vectors `(n, classes)` of the first images of a run.

    Labels are not smoothed, so that their shares are those of mixing.
    """
    batches = TrainingBatches(dataset, config.batch_size, config.seed, augmentation_of(config))
    images, labels = (ops.convert_to_numpy(part)[:SHOWN] for part in batches[0][:2])
    return images, labels


def draw_batch(images, labels, dataset, title):
    """Draw images, scaled back to pixels, each below its label; of several classes with their shares."""
    rows = -(-len(images) // COLUMNS)
    reading = (
        f"The first {len(images)} images as the network gets them: numbers from {images.min():.2f} to {images.max():.2f}, mean "
        f"{images.mean():.2f}, deviation {images.std():.2f}. They are drawn as mean + deviation * number, by those of the data "
        "set; what is below 0 is black, above 1 white. Above each image is its label; after mixing, shares of two."
    )
    figure = sheet(1.75 * COLUMNS, 2.1 * rows + 0.4, title, reading)
    pixels = np.clip(images * dataset.std + dataset.mean, 0.0, 1.0)
    for axes in (grid := figure.subplots(rows, COLUMNS, squeeze=False)).flat:
        axes.set_axis_off()
    for axes, image, label in zip(grid.flat, pixels, labels, strict=False):
        axes.imshow(image.repeat(3, 2) if image.shape[2] == 1 else image, interpolation="nearest")
        axes.set_title(literal_lines(label_in_words(label, dataset.class_names), 20), fontsize=9)
    return figure


def label_in_words(label, class_names):
    """Return a label vector as text: a class, or classes with their shares."""
    order = [i for i in np.argsort(-label, kind="stable") if label[i] > LEAST]
    if len(order) == 1:
        return class_names[order[0]]
    return " + ".join(f"{class_names[i]} {100 * label[i]:.0f} %" for i in order)
