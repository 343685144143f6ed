"""Metrics of several views, or several checkpoints, of one run.

They are shown beside the run's plain metrics, never instead of them.
"""

import numpy as np
from keras import ops

from datasets.augment import reflected
from datasets.batches import Batches
from foundation.errors import UserError
from foundation.probabilities import softmax
from lab.runs.checkpoints import list_checkpoints, put_weights, read_checkpoint, read_state, read_tensors
from lab.training.evaluation import predict
from models.layers import layers_of
from models.norms import Norm

SHIFTS = ((0, 0), (-1, -1), (1, 1))  # shifts of the views, in sixteenths of the images' height


def predict_views(model, dataset, split):
    """Return log-probabilities `(N, classes)`.

    They are of the mean probability over three shifts, each also mirrored if classes survive mirroring.
    """
    batches, total, views = Batches(dataset, split), 0.0, 0
    step = max(dataset.image_shape[0] // 16, 1)
    for rows, columns in SHIFTS:
        for mirror in (False, True) if dataset.is_mirrored else (False,):
            seen = _Seen(batches, rows * step, columns * step, mirror)
            total = total + softmax(predict(model, seen))
            views += 1
    return np.log(np.maximum(total / views, 1e-30))


class _Seen:
    """Batches whose images are shifted, with the border reflected, and mirrored."""

    def __init__(self, batches, rows, columns, mirror):
        self.batches, self.rows, self.columns, self.mirror = batches, rows, columns, mirror

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        images, labels = self.batches[i]
        height, width = images.shape[1:3]
        places = (np.arange(height, dtype="int32") + self.rows, height), (np.arange(width, dtype="int32") + self.columns, width)
        y, x = (reflected(*place) for place in places)
        x = x[::-1].copy() if self.mirror else x
        return ops.take(ops.take(images, y, axis=1), x, axis=2), labels


def average_checkpoints(run, model, batches) -> int:
    """Give a model the mean of the weights of all kept checkpoints of finished epochs; return the number of checkpoints.

    The moving statistics of norms are computed for the mean network (Izmailov et al. 2018, section 3.2): `batches` pass through
    it.
    """
    paths = [path for path in list_checkpoints(run.weights) if "step" not in path.name]
    try:
        checkpoints = {path: read_checkpoint(path) for path in paths}
    except ValueError as error:
        raise UserError(f"the checkpoints can't be averaged: {error}") from error
    for path, files in checkpoints.items():
        run.check_owns(path, read_state(files))
    weights = [read_tensors(files["model.safetensors"], str(path)) for path, files in checkpoints.items()]
    put_weights(model, {name: np.mean([w[name] for w in weights], axis=0, dtype="float64") for name in weights[0]})
    norms = [layer for layer in layers_of(model) if isinstance(layer, Norm) and hasattr(layer, "moving_mean")]
    momenta = [norm.momentum for norm in norms]
    for i in range(len(batches)):
        for norm in norms:
            norm.momentum = i / (i + 1)
        model(batches[i][0], training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return len(paths)
