"""Train's loss is that of smoothed and mixed labels, val's is not: the plot says so."""

import pytest

from callbacks.monitor import draw_training, labels_of_train
from foundation.settings import Config

HISTORY = {"epoch": [1], "learning_rate": [0.1]} | {name: [0.5] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({}, "cross-entropy (train: smoothed labels)"),
        ({"mixup_alpha": 0.2}, "cross-entropy (train: smoothed and mixed labels)"),
        ({"label_smoothing": 0.0, "cutmix_alpha": 1.0}, "cross-entropy (train: mixed labels)"),
        ({"label_smoothing": 0.0}, "cross-entropy"),
    ],
)
def test_the_plot_says_how_the_labels_of_train_differ(settings, label):
    figure = draw_training(HISTORY, 0, "a run", labels_of_train(Config(**settings)))
    assert figure.axes[0].get_ylabel() == label
