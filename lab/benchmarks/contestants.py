"""Who competes: our `fit`, `fit` of the same network in stock Keras layers, and a loop in plain PyTorch.

Each trains on one resident batch of random images with the same optimizer (SGD, Nesterov momentum 0.9, weight decay 5e-4).
A contestant is a function of a number of steps that runs them and returns when the device has finished.
"""

import keras
import numpy as np

from datasets.augment import Augmentation
from datasets.batches import TrainingBatches
from dispatcher import architecture_of, build_model
from foundation import keras_defaults  # noqa: F401  no keras.json is obeyed
from lab.benchmarks.random_images import data_set, random_split

MOMENTUM, WEIGHT_DECAY, RATE = 0.9, 5e-4, 0.1


def make_contestant(name, model, image_size, classes, batch, precision, mode):
    """`run(steps)` for a contestant: "ours", "training" (ours, each batch shuffled and augmented as in a run), "keras" or
    "torch"; `mode` is how a step of it runs on torch."""
    random = np.random.default_rng(0)
    images = random.standard_normal((batch, image_size, image_size, 3), "float32")
    labels = random.integers(0, classes, batch)
    shape = images.shape[1:]
    if name == "torch":
        return _torch_loop(architecture_of(model), images, labels, classes, precision, mode)
    keras.config.set_dtype_policy(precision)
    batches = SameBatch(images, np.eye(classes, dtype="float32")[labels])
    if name == "keras":
        return _fit(_stock(architecture_of(model), shape, classes), batches)
    return _fit(_ours(model, shape, classes, mode), _Training(image_size, classes, batch) if name == "training" else batches)


class SameBatch(keras.utils.PyDataset):
    """The same images and labels, on the device, `steps` times."""

    def __init__(self, images, labels):
        super().__init__()
        self.batch = keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(labels)
        self.steps = 1

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        return self.batch


class _Training(TrainingBatches):
    """Augmented batches of a CIFAR-10's worth of random images of 32x32 pixels, or as many bytes of larger ones."""

    def __init__(self, image_size, classes, batch):
        images = max(45_056 * 32 * 32 // image_size**2, 4 * batch) // batch * batch
        split = random_split(images, image_size, classes)
        super().__init__(data_set(split, split, classes), batch, 0, Augmentation(), 0.1)
        self.steps = 1

    def __len__(self):
        return self.steps

    def __getitem__(self, i):
        self.epoch, step = divmod(i, self.steps_per_epoch)
        return super().__getitem__(step)


def _fit(model, batches):
    def run(steps):
        batches.steps = steps
        history = model.fit(batches, shuffle=False, verbose=0)
        assert np.isfinite(history.history["loss"][-1])  # has waited for the device

    return run


def _ours(name, shape, classes, mode):
    from foundation.settings import Config
    from lab.optimizers.optimizer import make_optimizer
    from lab.training.classifier import Classifier

    config = Config(momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY, ema_decay=0.0)
    model = Classifier.of(build_model(name, shape, classes), mode)
    model.compile(make_optimizer(config, RATE))
    return model


def _stock(architecture, shape, classes):
    from lab.benchmarks.stock_keras import build_stock

    model = build_stock(architecture, shape, classes)
    model.compile(
        optimizer=keras.optimizers.SGD(RATE, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def _torch_loop(architecture, images, labels, classes, precision, mode):
    import torch

    from foundation.devices import synchronize, uses_cuda
    from lab.benchmarks.torch_networks import Loop, Network

    device = "cuda" if uses_cuda() else "cpu"
    images, labels = torch.from_numpy(images).permute(0, 3, 1, 2).to(device), torch.from_numpy(labels).to(device)
    # A captured graph reads the images and weights of its loop, which has to live as long.
    loop = Loop(Network(architecture, 3, classes), images, labels, precision == "mixed_bfloat16", mode)

    def run(steps):
        for _ in range(steps):
            loop.step()
        synchronize()

    return run
