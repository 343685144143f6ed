"""Dependence of an image's logits on the images that share its batch, which norms over a batch bring in training."""

import numpy as np
from keras import ops

from foundation.randomness import generator
from lab.lessons.running import images_of, momentum_of_norms


def sway(model, dataset, batch_size, draws=12, seed=0) -> float:
    """Return the deviation of an image's logits over draws of its companions, in deviations of logits over images.

    0: an image has the same logits in every batch. 1: its companions matter as much as the image. The network computes as in
    training; its moving statistics stay.
    """
    images = ops.convert_to_numpy(images_of(dataset, 1000))
    found = []
    with momentum_of_norms(model, 1.0):
        for draw in range(draws):
            others = generator(seed, "companions", batch_size, draw).permutation(len(images) - 1)[: batch_size - 1] + 1
            batch = np.concatenate([images[:1], images[others]])
            found.append(ops.convert_to_numpy(model(ops.convert_to_tensor(batch), training=True)))
    of_the_image = np.std([logits[0] for logits in found], axis=0).mean()
    whole = ops.convert_to_numpy(model(ops.convert_to_tensor(images[:200]), training=False))
    return float(of_the_image / whole.std(0).mean())


def accuracy_in_batches(model, dataset, batch_size, seed=0) -> float:
    """Return the accuracy on val in percent if norms take their statistics from random batches of so many images, as in training.

    Images that fill no batch are left out; the model's moving statistics stay.
    """
    images, labels = ops.convert_to_numpy(images_of(dataset, len(dataset.val))), dataset.val.labels
    order = generator(seed, "batches of val").permutation(len(images))
    order = order[: len(order) // batch_size * batch_size]
    with momentum_of_norms(model, 1.0):
        logits = [
            ops.convert_to_numpy(model(ops.convert_to_tensor(images[order[start : start + batch_size]]), training=True))
            for start in range(0, len(order), batch_size)
        ]
    return 100 * float((np.concatenate(logits).argmax(1) == labels[order]).mean())
