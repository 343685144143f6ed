"""Logits to probabilities."""

import numpy as np


def softmax(logits):
    """Return the probabilities `(N, classes)` of logits `(N, classes)`, in float64."""
    shares = np.exp(logits.astype("float64") - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)
