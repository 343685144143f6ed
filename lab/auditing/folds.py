"""Predictions of every picture by networks that have not seen it: for each fold of the pictures one is trained on the others."""

import hashlib
from dataclasses import replace

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from datasets.batches import Batches
from datasets.catalog import pool_of
from datasets.groups import numbered, share_of_groups
from datasets.joined import joined
from foundation.errors import UserError
from foundation.probabilities import softmax
from foundation.randomness import generator
from lab.runs.checkpoints import newest_whole
from lab.runs.run import Run
from lab.runs.same_settings import settings_of
from lab.training.backends import choose_kernels
from lab.training.evaluation import predict
from lab.training.experiment import load_trained
from lab.training.fitting import build, check_images, fit
from lab.training.memory import within_memory
from lab.training.precision import fewest_pixels, settle
from lab.training.transfer import take_weights
from lab.training.transfer_settings import source_run

FOLDS = 5
SHARE = 0.1  # of the pictures that a fold's network may see; by them its best epoch is chosen


def out_of_fold(dataset, config, families, folder, folds=FOLDS):
    """Return probabilities `(N, classes)` of all pictures of a data set, train's first, from `folds` trainings.

    `families` `(N,)` are numbers of what must not be divided. The trainings are runs below `folder`: one that was stopped goes
    on, and one that is done is used again. Raises UserError, and Interrupted as a training does.
    """
    choose_kernels(config.deterministic)
    check_images(config, dataset)
    _check_source(config)
    whole = joined(list(dataset.splits.values()), list(dataset.splits))
    probabilities = np.zeros((len(whole), dataset.classes), "float32")
    config = replace(config, start_epoch=None, resume="auto", output_dir=str(folder), weights_dir=str(folder / "weights"))
    name = _name(dataset, config, families, folds)
    for number, (seen, held) in enumerate(divided(whole.labels, families, folds, config.seed, dataset.classes)):
        val = share_of_groups(
            whole.labels[seen],
            numbered(families[seen]),
            max(round(SHARE * len(seen)), 1),
            dataset.classes,
            generator(config.seed, "fold val", number),
            1,
        )
        parts = {"train": np.delete(seen, val), "val": seen[val], "test": held}
        part = replace(dataset, **{split: whole.select(rows) for split, rows in parts.items()})
        print(f"fold {number + 1} of {folds}: {len(part.train):,} pictures learned, {len(held):,} predicted", flush=True)
        model = _trained(replace(config, run=f"{name}-{number + 1}-of-{folds}"), part)
        probabilities[held] = softmax(predict(model, Batches(part, part.test)))
    return probabilities


def divided(labels, families, folds, seed, classes):
    """Return [(rows that a fold's network may see, rows that it predicts), ...]. Raises UserError for too small a class."""
    found = np.bincount(np.unique(np.stack([labels, families]), axis=1)[0], minlength=classes)
    if found.min() < folds:
        raise UserError(f"--labels divides each class into {folds} folds, and a class has only {found.min()} pictures or groups")
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return list(parts.split(labels, labels, families))


def _name(dataset, config, families, folds):
    """Return the beginning of the runs' names, which another set, other settings and other families change."""
    settings = {name: value for name, value in settings_of(config).items() if name != "dataset"}
    text = repr((dataset.fingerprint, sorted(settings.items(), key=str), families.tolist(), folds))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _trained(config, dataset):
    """Return the network of a fold's run, with its best weights on val."""
    run = Run.of(config)
    config = settle(config, dataset.train.images.shape, fewest_pixels(), run)
    model = build(config, dataset)
    if config.init_from and not newest_whole(run.weights):
        take_weights(model, config, dataset.class_names)
    with run.writing(config):
        within_memory(fit, config, run, dataset, model)
    return load_trained(run, dataset)[1]


def _check_source(config):
    """Raise a UserError if networks would start from one that has seen pictures which they are to predict."""
    source = source_run(config) if config.init_from else None
    if source and pool_of(source.read_config().dataset) == pool_of(config.dataset):
        raise UserError(f"init_from '{config.init_from}' has seen these pictures with their labels: start from another data set")
