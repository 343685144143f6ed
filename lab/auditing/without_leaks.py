"""Accuracy of a finished run without the pictures that it knew already."""

import numpy as np

from foundation.errors import UserError
from lab.runs.predictions import SPLITS, predictions_of
from lab.training.evaluation import accuracy_interval


def accuracy_without(run, pictures, is_leaked):
    """Return {split: {"with": measured, "without": measured or None if all are leaked}} of val and test.

    `measured` holds images, accuracy and its 95 % interval (Wilson). `is_leaked` `(N,)` is of all pictures. Raises UserError.
    """
    found = {}
    for split in SPLITS:
        predictions = predictions_of(run, split)
        if tuple(predictions.images) != tuple(pictures.dataset.splits[split].identities()):
            raise UserError(f"the pictures of {split} are others than when run '{run.name}' was measured: python evaluate.py RUN")
        rest = ~is_leaked[pictures.split == pictures.splits.index(split)]
        found[split] = {"with": _measured(predictions.is_right), "without": _measured(predictions.is_right[rest])}
    return found


def _measured(is_right):
    if not len(is_right):
        return None
    accuracy = float(np.mean(is_right))
    return {"images": len(is_right), "accuracy": accuracy, "interval": accuracy_interval(accuracy, len(is_right))}
