"""Trained and untrained networks for lessons, and the checks of what was measured."""

import atexit
import contextlib
import io
import os
import shutil
import tempfile
from pathlib import Path

import dispatcher
from callbacks.monitor import draw_training, labels_of_train
from datasets.batches import Batches
from datasets.catalog import load_as
from foundation.checks import checked
from foundation.errors import RunFailure, unknown
from foundation.grammar import duration
from foundation.style import image_of
from lab.lessons.shown import DPI, few_colours
from lab.reports.finished import Finished
from lab.runs.naming import choose
from lab.runs.run import Run
from lab.training import experiment
from lab.training.fitting import origin_of
from models.initialize import initialize
from models.layers import layers_of
from models.norms import Norm

ROOT = Path(__file__).parents[2]
SIZES = ("full", "small")
SIZE = os.environ.get("RESLAB_LESSONS", "full")
if SIZE not in SIZES:
    raise unknown("RESLAB_LESSONS", SIZE, SIZES)
IS_SMALL = SIZE == "small"  # of a test: everything runs, too short to learn from
# What a lesson trains unless it says otherwise: 16 pixels tell digits apart, and take a quarter of the time that 32 take.
USUAL = {
    "dataset": "digits",
    "image_size": 16,
    "batch_size": 32,
    "epochs": 8,
    "track_gradients": True,
    "data_dir": str(ROOT / "data"),
}
SMALL = {"epochs": 1, "images_per_class": 6, "image_size": 8}


def sized(full, small):
    """Return the first value, or in a test of the lessons (RESLAB_LESSONS=small) the second."""
    return small if IS_SMALL else full


class Trained(Finished):
    """A finished run: `history`, `metrics`, `flow`, `model`, `dataset`; a notebook shows its curves."""

    def __repr__(self):
        test, metrics = self.metrics["test"], self.metrics
        right = f"{100 * test['accuracy']:.1f} % of {test['images']} test images right"
        return f"{self.name}: {right}, best on val after epoch {metrics['best_epoch']}, trained {duration(metrics['seconds'])}"

    def _repr_png_(self):
        title, best = f"{self.config.model} on {self.config.dataset}", self.metrics["best_epoch"] - 1
        return few_colours(image_of(draw_training(self.history, best, title, labels_of_train(self.config)), "png", dpi=DPI))

    def accuracy(self, split="test"):
        """Return the accuracy on a split in percent."""
        return 100 * self.metrics[split]["accuracy"]

    def loss(self, split="test"):
        """Return the cross-entropy on a split in nats, measured without augmentation."""
        return self.metrics[split]["loss"]


_folders = []


def folder():
    """Return the folder of the lessons' runs: output/lessons of the project, or of a test one that goes with the process."""
    if not IS_SMALL:
        return ROOT / "output/lessons"
    if not _folders:
        _folders.append(Path(tempfile.mkdtemp(prefix="reslab-lessons-")))
        atexit.register(shutil.rmtree, _folders[0], ignore_errors=True)
    return _folders[0]


def settings_of(model, **settings):
    """Return the checked Config of a lesson's training. Raises UserError for settings that can't be."""
    places = {"output_dir": str(folder()), "weights_dir": str(folder() / "weights")}
    return checked(USUAL | settings | (SMALL if IS_SMALL else {}) | places | {"model": model})


def train(model="resnet20", name=None, **settings) -> Trained:
    """Train a network of `python dispatcher.py`, or find the run that has, and return it as a Trained.

    `settings` are those of `python train.py --help`, such as `epochs=20` or `norm="group"`; figures call the run `name`. What was
    trained stays in output/lessons. Raises UserError for what can't be and RunFailure for a training that was stopped.
    """
    config = settings_of(model, **settings)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = experiment.train(config)
    if code:
        raise RunFailure(f"the training was stopped (exit code {code}); call it again to go on")
    run = choose(config, origin_of(load_as(config))).run
    return Trained(run, name or run.name)


def study_runs(name):
    """Return the finished runs of a study in output/studies as Trained, or [] where there are none."""
    return [Trained(run, run.name) for run in Run.finished("*", ROOT / "output/studies" / name / "runs")] if not IS_SMALL else []


def fresh(model, dataset, seed=0, **options):
    """Return an untrained network for the images of a data set, as a training with this seed would begin.

    Its moving statistics are those of 256 images of train, so that it computes at inference what it computes in training.
    """
    network = dispatcher.build_model(model, dataset.image_shape, dataset.classes, **options)
    initialize(network, seed)
    images = images_of(dataset, 256, "train")
    with momentum_of_norms(network, 0.0):  # the statistics of this batch take the place of those before
        network(images, training=True)
    return network


@contextlib.contextmanager
def momentum_of_norms(network, momentum):
    """Let moving statistics keep this share of themselves at each call in training within the block; with 1 they stay."""
    norms = [layer for layer in layers_of(network) if isinstance(layer, Norm) and hasattr(layer, "moving_mean")]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = momentum
    try:
        yield
    finally:
        for norm, own in zip(norms, before, strict=True):
            norm.momentum = own


def images_of(dataset, count, split="val"):
    """Return the first images of a split as a network gets them, `(N, H, W, C)`; not more than there are."""
    found = getattr(dataset, split)
    chosen = found.select(range(min(count, len(found))))
    return Batches(dataset, chosen, len(chosen))[0][0]


def check(sentence, holds, needs_training=True):
    """Say that a sentence holds; raises AssertionError where it does not.

    In a test of the lessons nothing is trained for long enough to be held to what `needs_training`: there it is only said.
    """
    if not holds and not (IS_SMALL and needs_training):
        raise AssertionError(f"did not hold here: {sentence}")
    print(f"{'holds' if holds else 'does not hold at this size'}: {sentence}")
