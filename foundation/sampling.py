"""Choice of some of many places, the same every time."""

import numpy as np


def evenly_spaced(total, most):
    """Return at most `most` different places below `total`, in order and evenly spaced from the first to the last."""
    return np.linspace(0, total - 1, min(most, total)).round().astype(int)
