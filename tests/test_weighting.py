"""Shares of the learning rate, weights of classes, and the epoch that is best."""

import keras
import numpy as np
import pytest
import torch
from conftest import write_images

import dispatcher
from callbacks.early_stopping import BestEpoch
from datasets.batches import TrainingBatches
from datasets.catalog import load_as
from foundation.settings import Config
from lab.optimizers.optimizer import make_optimizer
from lab.training.classifier import Classifier
from lab.training.torch_step import TorchStep
from lab.training.transfer import freeze
from models.network import CLASSIFIER, Recorder


def classifier(weight_decay=0.0, **options):
    keras.utils.set_random_seed(0)
    record = Recorder(keras.Input((4, 4, 3)))
    for i, layer in enumerate(
        (keras.layers.Flatten(), keras.layers.Dense(3, name="middle"), keras.layers.Dense(2, name=CLASSIFIER))
    ):
        record(layer, i)
    model = Classifier.of(record.network("small"), "eager")
    model.compile(make_optimizer(Config(momentum=0.0, weight_decay=weight_decay, ema_decay=0.0, **options), 0.5))
    return model


def one_step(model, weights=None):
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.normal(size=(6, 4, 4, 3)).astype("float32"))
    batch = [images, torch.eye(2)[torch.tensor([0, 1, 1, 1, 0, 1])], *([] if weights is None else [weights])]
    before = {v.path: v.numpy().copy() for v in model.trainable_variables}
    logs = TorchStep(model, "eager")(*batch)
    return float(logs["loss"]), {v.path: v.numpy() - before[v.path] for v in model.trainable_variables}, batch


@pytest.mark.parametrize("share", [0.1, 0.0])
@pytest.mark.parametrize(("optimizer", "decay"), [("sgd", 0.5), ("rmsprop", 0.0), ("adamw", 0.5), ("muon", 0.5)])
def test_the_backbone_moves_by_its_share_of_the_rate(optimizer, decay, share):
    """The share holds for moves by the gradient and by weight decay, which adamw and muon apply beside it."""
    settings = {"optimizer": optimizer, "weight_decay": decay}
    changes = [one_step(classifier(backbone_rate=rate, **settings))[1] for rate in (1.0, share)]
    for path, change in changes[0].items():
        wanted = change if path.startswith("classifier") else share * change
        np.testing.assert_allclose(changes[1][path], wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("part", ["backbone", "stages:1-3"])
def test_a_backbone_without_kernels_that_learn_may_have_a_rate(part):
    """Frozen stages leave a norm, which does not decay; a frozen backbone leaves nothing."""
    model = dispatcher.build_model("preresnet20", (4, 4, 3), 2, blocks=1)
    freeze(model, part)
    model = Classifier.of(model, "eager")
    model.compile(make_optimizer(Config(optimizer="muon", backbone_rate=0.1), 0.5))
    _, changes, _ = one_step(model)
    assert np.abs(changes["classifier/kernel"]).max() > 0
    assert len(changes) == (2 if part == "backbone" else 4)


def test_weights_of_images_count_as_keras_counts_them():
    weights = torch.tensor([1.5, 0.75, 0.75, 0.75, 1.5, 0.75])
    loss, changes, batch = one_step(classifier(), weights)
    keras_own = classifier()
    before = {v.path: v.numpy().copy() for v in keras_own.trainable_variables}
    expected = keras.Model.train_step(keras_own, tuple(batch))
    assert loss == pytest.approx(float(expected["loss"]), rel=1e-5)
    for variable in keras_own.trainable_variables:
        np.testing.assert_allclose(changes[variable.path], variable.numpy() - before[variable.path], rtol=1e-4, atol=1e-6)


def test_balanced_classes_count_alike(tmp_path):
    for name, count in (("few", 6), ("many", 30)):
        write_images(tmp_path / "train", (name,), count)
    dataset = load_as(Config(dataset=f"folder:{tmp_path}", data_dir=str(tmp_path / "d")))
    batches = TrainingBatches(dataset, 7, 0, class_weights="balanced", label_smoothing=0.1)
    sums, total = np.zeros(2), 0.0
    for i in range(len(batches)):
        _, labels, weights = batches[i]
        np.add.at(sums, np.asarray(labels).argmax(1), weights)
        total += weights.sum()
    assert sums[0] == pytest.approx(sums[1]) and total == pytest.approx(len(dataset.train))


def test_the_best_epoch_is_best_by_what_is_asked_for():
    epochs = [
        {"val_accuracy": 0.5, "val_f1_macro": 0.6, "val_loss": 1.0},
        {"val_accuracy": 0.6, "val_f1_macro": 0.5, "val_loss": 2.0},
    ]
    for monitor, best in (("val_accuracy", 1), ("val_f1_macro", 0), ("val_loss", 0)):
        callback = BestEpoch(0, monitor)
        for epoch, logs in enumerate(epochs):
            callback.on_epoch_end(epoch, logs)
        assert callback.epoch == best, monitor
