"""Estimates of a dry run: equal work has an equal estimate."""

from dataclasses import replace

import pytest

from foundation.settings import Config
from lab.benchmarks import estimate

SMALL = Config(model="resnet6n2", n=1, image_size=8, batch_size=8)


@pytest.fixture
def measured(monkeypatch):
    """The configs whose steps are measured."""
    configs, trainer = [], estimate.Trainer

    def measuring(config, *arguments):
        configs.append(config)
        return trainer(config, *arguments)

    monkeypatch.setattr(estimate, "Trainer", measuring)
    return configs


def test_runs_that_compute_the_same_share_one_measurement(measured):
    own = replace(SMALL, batch_size=7)  # which no other test has measured
    arms = [
        own,
        replace(own, schedule="resnet", label_smoothing=0.0, seed=3),
        replace(own, init_lr=0.5, class_weights="balanced"),
    ]
    assert len({estimate.seconds_of(arm) for arm in arms}) == 1 and len(measured) == 1
    longer = estimate.seconds_of(replace(own, epochs=2 * own.epochs))
    assert longer > estimate.seconds_of(own) and len(measured) == 1


@pytest.mark.parametrize(
    "change", [{"n": 2}, {"batch_size": 16}, {"mixup_alpha": 0.2}, {"optimizer": "adam"}, {"image_size": 12}]
)
def test_runs_that_compute_something_else_are_measured_by_themselves(change, measured):
    estimate.seconds_of(SMALL)
    measured.clear()
    estimate.seconds_of(replace(SMALL, **change))
    assert len(measured) == 1
