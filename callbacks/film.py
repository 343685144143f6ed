"""Frames of a film: what a network looks like from inside after an epoch, for `python visualize.py film`."""

import time

import keras
import numpy as np
from keras import ops
from safetensors.numpy import save

from callbacks.averaging import EvaluateAverage, average_of, copy_of
from datasets.batches import Batches
from foundation.files import as_json, write_whole
from foundation.randomness import generator
from models.blocks import ResidualBlock
from models.network import CLASSIFIER, stage_of

FOLDER, RECORD, SHOWN_FILE = "film", "film.json", "shown.safetensors"
SHOWN = 5  # images of val whose maps are kept
CHANNELS, SIDE = 6, 16  # of a feature map that is kept: the first channels, at most so many pixels a side
COUNTED = 1 / 20  # of train's images, so many images of val are in a frame's confusion: that costs about a sixtieth of an epoch
MOST_CLASSES = 100  # of a confusion that is kept
SKETCHED = 4096  # numbers that stand for all weights


def frame_name(epoch) -> str:
    return f"epoch-{epoch:05d}.safetensors"


class Film(keras.callbacks.Callback):
    """Writes `film/epoch-00007.safetensors` after an epoch, by one rename, as long as that takes at most `share` of the time.

    A frame holds the filters of the first convolution, feature maps at the end of each stage and Grad-CAM of the last one for
    SHOWN images of val, the confusion of some images of val, the norms of the last step's gradients, and a sketch of the
    weights: all of the weights that val is measured with. Frame 0 is of the untrained network. An epoch is left out where its
    frame would take the time spent on frames above the share of the time spent on training.
    """

    needs_state = ""  # without, only the time spent on earlier frames is not known
    share = 0.05

    def __init__(self, run, batches, dataset, progress):
        super().__init__()
        self.run, self.batches, self.dataset, self.progress = run, batches, dataset, progress
        self.spent, self.last = 0.0, 0.0  # seconds: on all frames, on the last one

    def on_train_begin(self, logs=None):
        folder, start = self.run.folder(FOLDER), self.batches.epoch
        folder.mkdir(exist_ok=True)
        for path in folder.glob("epoch-*.safetensors"):  # of a run that goes back to an earlier epoch
            if path.name > frame_name(start):
                path.unlink()
        self.layers = [variable.path for variable in self.model.trainable_variables if variable.name == "kernel"]
        val, count = self.dataset.val, max(round(COUNTED * len(self.dataset.train)), SHOWN)
        shown, counted = (np.linspace(0, len(val) - 1, min(most, len(val))).round().astype(int) for most in (SHOWN, count))
        self.shown, self.counted = (Batches(self.dataset, val.select(places)) for places in (shown, counted))
        if start == 0 and self.batches.first_step == 0:  # what is there is of a run that ended before its first checkpoint
            kept = val.select(shown)
            write_whole(folder, SHOWN_FILE, save({"images": kept.read(), "labels": kept.labels.astype("int64")}))
            record = {"layers": self.layers, "features": [block.name for block in ends_of_stages(self.model)]}
            write_whole(folder, RECORD, as_json(record | {"counted": len(counted)}))
            self._record(0)

    def on_epoch_end(self, epoch, logs=None):
        trained = sum(self.progress.speed["seconds"])
        if self.spent + self.last <= self.share * trained:
            self._record(epoch + 1)

    def _record(self, epoch):
        began = time.perf_counter()
        has_average = average_of(self.model) and int(self.model.optimizer.iterations) > 0  # before the first step it is empty
        average = EvaluateAverage() if has_average else None
        if average:
            average.set_model(self.model)
            average.on_test_begin()
        try:
            frame = self._frame()
        finally:
            if average:
                average.on_test_end()
        write_whole(self.run.folder(FOLDER), frame_name(epoch), save(frame))
        self.last = time.perf_counter() - began
        self.spent += self.last

    def _frame(self):
        model = self.model
        maps, logits = maps_of(model, self.shown[0][0])
        frame = {f"feature/{name}": values for name, values in maps.items()}
        frame["probabilities"] = ops.convert_to_numpy(ops.softmax(ops.cast(logits, "float32")))
        frame["filters"] = copy_of(model.get_layer(first_convolution(model)).kernel).astype("float32")
        if model.output_shape[-1] <= MOST_CLASSES:
            frame["confusion"] = self._confusion()
        norms = copy_of(model.optimizer.gradient_norms)
        kernels = [i for i, variable in enumerate(model.trainable_variables) if variable.name == "kernel"]
        frame["gradients"] = norms[kernels].astype("float32")
        frame["sketch"] = sketch([copy_of(variable) for variable in model.trainable_variables])
        return {name: np.ascontiguousarray(values) for name, values in frame.items()}

    def _confusion(self):
        classes, labels = self.model.output_shape[-1], self.counted.split.labels
        batches = (self.counted[i][0] for i in range(len(self.counted)))
        answers = [ops.convert_to_numpy(self.model.predict_on_batch(images)).argmax(1) for images in batches]
        places = labels * classes + np.concatenate(answers)
        return np.bincount(places, minlength=classes**2).reshape(classes, classes).astype("int64")

    def get_state(self):
        return {"spent": self.spent, "last": self.last}

    def set_state(self, state):
        self.spent, self.last = state["spent"], state["last"]


def first_convolution(model):
    return next(layer.name for layer in model.layers if layer.name.startswith("stem_conv"))


def ends_of_stages(model):
    """Return the last block of each stage."""
    blocks = [layer for layer in model.layers if isinstance(layer, ResidualBlock)]
    return list({stage_of(block.name): block for block in blocks}.values())


def maps_of(model, images):
    """Return ({name: uint8 maps `(N, h, w[, channels])`}, logits): features at the end of each stage, and "grad-cam".

    Grad-CAM (Selvaraju et al. 2017) of the last feature map towards the predicted class needs no gradient here: behind a global
    pooling and a dense layer, the mean gradient of a channel is proportional to its weight in the classifier.
    """
    kept, last, ends = {}, [], {id(block): block.name for block in ends_of_stages(model)}

    def around(layer, call, x):
        result = call(x)
        if id(layer) in ends:
            step = -(-result.shape[1] // SIDE)
            kept[ends[id(layer)]] = ops.convert_to_numpy(ops.cast(result[:, ::step, ::step, :CHANNELS], "float32"))
        if isinstance(layer, keras.layers.GlobalAveragePooling2D):
            last.append(ops.convert_to_numpy(ops.cast(x, "float32")))
        return result

    logits = model.run(images, around)
    kernel = copy_of(model.get_layer(CLASSIFIER).kernel).astype("float32")
    channels = last[0].shape[-1]
    weights = kernel.reshape(-1, channels, kernel.shape[1]).sum(0)  # of the average, and of the maximum where there is one
    classes = ops.convert_to_numpy(logits).argmax(1)
    found = np.maximum((last[0] * weights[:, classes].T[:, None, None]).sum(-1), 0.0)
    return {name: _as_bytes(values, (1, 2)) for name, values in kept.items()} | {
        "grad-cam": _as_bytes(found, (1, 2), 0.0)
    }, logits


def _as_bytes(values, axes, low=None):
    """Return values as 0..255, from the lowest (or `low`) to the highest over the axes."""
    low = values.min(axes, keepdims=True) if low is None else low
    return np.round(255 * (values - low) / np.maximum((values - low).max(axes, keepdims=True), 1e-12)).astype("uint8")


def sketch(weights):
    """Return SKETCHED numbers that stand for all weights: distances and products between sketches are nearly those of weights.

    Each weight is added with a random sign to one of the numbers (Charikar et al. 2002, count sketch). It is linear, and a
    function of the weights alone. Products are right to about 1 / sqrt(SKETCHED) of the lengths, 1.6 %.
    """
    total = np.zeros(SKETCHED)
    for number, weight in enumerate(weights):
        draw = generator(0, "sketch of weights", number)
        places, signs = draw.integers(SKETCHED, size=weight.size), draw.integers(2, size=weight.size) * 2 - 1
        total += np.bincount(places, signs * weight.ravel(), minlength=SKETCHED)
    return total.astype("float32")
