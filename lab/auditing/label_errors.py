"""Probable label errors by confident learning (Northcutt, Jiang & Chuang 2021), from predictions of networks that did not see
the pictures they predict."""

import numpy as np


def confident_joint(probabilities, labels):
    """Return counts `(classes, classes)`: pictures of a given label (row) that are confidently of a class (column).

    A picture counts for the class whose probability is highest among those that reach the class's threshold: the mean
    probability of the class over the pictures that carry its label (equations 1 and 2).
    """
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    own = np.bincount(labels, probabilities[np.arange(len(labels)), labels], classes)
    thresholds = np.where(counts > 0, own / np.maximum(counts, 1), np.inf)
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    is_confident = reached.max(1) >= 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[is_confident], reached.argmax(1)[is_confident]), 1)
    return joint


def joint_distribution(joint, labels):
    """Return the estimated shares `(classes, classes)` of given label and true class, which sum to 1 (equation 3)."""
    counts = np.bincount(labels, minlength=len(joint)).astype(float)
    rows = joint.sum(1, keepdims=True)
    joint = np.where(rows > 0, joint, np.eye(len(joint)))  # a class of which nothing is confident is taken as it is
    scaled = joint / joint.sum(1, keepdims=True) * counts[:, None]
    return scaled / scaled.sum()


def probable_errors(probabilities, labels):
    """Return (places, suggested classes) of pictures whose label is probably wrong, the most probable first.

    As many are taken as the joint distribution has outside its diagonal, those whose own label has the lowest probability
    (section 3.2). They are compared over all classes together: counted class by class, most of many classes would expect less
    than half a picture. A picture whose label is itself the most probable class stays.
    """
    joint = joint_distribution(confident_joint(probabilities, labels), labels)
    best, own = probabilities.argmax(1), probabilities[np.arange(len(labels)), labels]
    count = round((1.0 - np.trace(joint)) * len(labels))
    places = np.argsort(own, kind="stable")[:count]
    places = places[best[places] != labels[places]]
    return places, best[places]
