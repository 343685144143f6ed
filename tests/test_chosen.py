"""Rates that are chosen where the user chose none, and the line that says when val loss explodes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks.faults import ExplosionNote
from datasets.catalog import load_as
from foundation.settings import Config
from lab import studies
from lab.optimizers.rules import RULES
from lab.runs.run import Run
from lab.training.chosen import choices_of, choose, describe, values_of
from lab.training.fitting import Trainer, build


def test_the_digits_train_by_the_rate_and_warm_up_that_they_always_had():
    chosen = choose(Config(), 1_437)
    assert (chosen.init_lr, chosen.warmup_epochs) == (0.1, 1.0)


def test_a_rate_of_the_users_own_is_kept_with_its_warm_up():
    config = Config(init_lr=0.3, warmup_epochs=0.25, epochs=1, batch_size=32)
    assert choose(config, 40) == config
    assert values_of(config, 40) == {} and describe(config, 40) == ""


def test_few_steps_have_a_small_rate_and_a_long_rise():
    config = Config(batch_size=32)
    chosen = choose(config, 50)  # two steps an epoch
    assert (chosen.init_lr, chosen.warmup_epochs) == (0.02, 4.0)
    assert values_of(config, 50) == {"init_lr": 0.02, "warmup_epochs": 4.0}
    assert "init_lr 0.02, warmup_epochs 4" in describe(config, 50)
    assert choose(Config(warmup_epochs=0.0), 50).warmup_epochs == 0  # 0 is none
    assert "warmup" not in describe(Config(schedule="constant"), 50)  # which has none


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "lion"])
def test_steps_that_are_as_long_as_the_rate_keep_it_when_they_are_few(optimizer):
    chosen = choose(Config(optimizer=optimizer), 50)
    assert chosen.init_lr == RULES[optimizer].usual_rate
    assert chosen.warmup_epochs == 4.0


@given(st.integers(2, 100_000))
def test_few_images_make_small_batches_whose_last_one_is_not_tiny(images):
    size = choose(Config(), images).batch_size
    steps = -(-images // size)
    assert 2 <= size <= 32 and (size == 32 or images < 256)
    assert steps >= min(images // 16, 7)
    if images < 256:
        assert images - (steps - 1) * size >= size / 2


def test_a_batch_size_that_was_chosen_is_said_beside_a_rate_of_the_users_own():
    assert describe(Config(init_lr=0.1), 50) == "batch_size 9: chosen by the number of images; --batch-size sets another"
    assert choose(Config(batch_size=32, init_lr=0.1), 50).batch_size == 32


def test_a_run_that_may_be_prolonged_keeps_its_rate():
    rates = {choose(Config(schedule="constant", epochs=epochs), 200).init_lr for epochs in (1, 20, 50)}
    assert len(rates) == 1


@given(
    images=st.integers(2, 100_000),
    epochs=st.integers(1, 300),
    batch_size=st.integers(2, 4096),
    optimizer=st.sampled_from(sorted(RULES)),
)
def test_more_images_never_lower_the_rate_and_every_choice_is_one_of_the_settings(images, epochs, batch_size, optimizer):
    config = Config(epochs=epochs, batch_size=batch_size, optimizer=optimizer)
    few, more = choose(config, images), choose(config, images + batch_size)
    assert 0 < few.init_lr <= more.init_lr <= RULES[optimizer].usual_rate
    assert few.warmup_epochs >= more.warmup_epochs >= config.warmup_epochs


def test_studies_train_by_rates_of_their_own():
    for name in studies.names():
        study = studies.find(name)
        for scale in study.scales:
            plan = study.plan(name, scale, study.arms_at(scale), 1, "folder", {})
            assert all(planned.config.init_lr > 0 for planned in plan)


def test_a_run_trains_by_what_was_chosen_and_keeps_it_beside_its_settings(image_folder, in_folder):
    config = Config(
        dataset=f"folder:{image_folder}", model="resnet6n2", n=1, image_size=8, epochs=4, run="r", precision="float32"
    )
    dataset = load_as(config)
    model = build(config, dataset)
    run = Run.of(config)
    trainer = Trainer(config, run, dataset, model)
    run.output.mkdir(parents=True)
    trainer.resume()
    chosen = values_of(config, len(dataset.train))
    assert float(model.optimizer.rates.max()) == pytest.approx(chosen["init_lr"])
    assert json.loads((run.output / "chosen.json").read_text()) == chosen == choices_of(run)
    plateau = replace(config, schedule="plateau")
    Trainer(plateau, run, dataset, model)
    assert float(model.optimizer.learning_rate) == pytest.approx(values_of(plateau, len(dataset.train))["init_lr"])


class Monitor:
    def __init__(self):
        self.history = {}


@pytest.mark.parametrize(
    ("losses", "said_after"),
    [
        ([9.0, 2.0, 1.0], None),  # worse than guessing at first, as many networks are
        ([9.0, 4.5, 4.7, 9.0], 3),
        ([24.0, 24.0], 1),
        ([2.0, 1e6, 1.0, 1e6], 2),
        ([2.0, float("inf")], 2),
    ],
)
def test_an_exploding_val_loss_is_said_once(losses, said_after, capsys):
    monitor = Monitor()
    for epoch, loss in enumerate(losses):  # each by a note of its own, as if the run had been taken up again
        ExplosionNote(10, monitor).on_epoch_end(epoch, {"val_loss": np.float32(loss)})
        monitor.history.setdefault("val_loss", []).append(loss)
    said = capsys.readouterr().out
    assert said.count("--find-lr") == (said_after is not None) == said.count("\n")
    assert said_after is None or f"after epoch {said_after}" in said
