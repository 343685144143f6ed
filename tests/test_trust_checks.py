"""`train.py --check` names what is wrong before a run takes hours: each fault is planted, and named by its own check."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import train
from datasets.dataset import Dataset, Split
from datasets.splits import pixel_statistics
from foundation.settings import Config
from lab.runs.run import Run
from lab.training.chosen import choose, with_batch_size
from lab.training.experiment import network_at_start
from lab.training.precision import settle
from lab.trust import cost_checks, data_checks, training_checks
from lab.trust.batch_picture import draw_batch, first_batch, label_in_words
from lab.trust.check import Plan
from lab.trust.findings import FAILED, OK, SKIPPED
from lab.trust.probe import check_classes, check_labels, probe
from lab.trust.trial import Trial

CONFIG = Config(model="resnet6n2", n=1, batch_size=16, precision="float32", augment="none", max_shift=0)
NAMES = ("dark", "grey", "light")


def images_of(labels, seed):
    """Noisy squares whose brightness is their class's."""
    random = np.random.default_rng(seed)
    return np.uint8(random.integers(0, 60, (len(labels), 12, 12, 3)) + 60 * labels[:, None, None, None])


def split_of(each, seed, folder):
    labels = np.arange(3 * each) % 3
    files = tuple(f"{folder}/{NAMES[label]}/{i}.png" for i, label in enumerate(labels))
    return Split(images_of(labels, seed), labels, files=files)


def scaled(train, val, **fields):
    mean, deviation = pixel_statistics(train)
    fields = {"mean": np.float32(mean), "std": np.float32(deviation)} | fields
    return Dataset("squares", train, val, split_of(4, 2, "test"), NAMES, **fields)


@pytest.fixture(scope="module")
def dataset():
    return scaled(split_of(40, 0, "train"), split_of(12, 1, "val"))


@pytest.fixture(scope="module")
def config(dataset):
    return with_batch_size(settle(CONFIG, dataset.train.images.shape, 0), len(dataset.train))


@pytest.fixture(scope="module")
def model(config, dataset):
    return network_at_start(config, None, dataset)


@pytest.fixture(scope="module")
def trial(config, dataset, model):
    return Trial(config, dataset, model)


@pytest.fixture(scope="module")
def edge(trial, config, tmp_path_factory):
    """The rate at which the loss is about to rise."""
    run = Run("r", *(tmp_path_factory.mktemp(name) for name in ("output", "weights")))
    return training_checks.rising_rate(trial, config, run, 60)


def chosen_rate(config, dataset):
    return choose(config, len(dataset.train)).init_lr


def assert_named(found, *words):
    assert found.verdict == FAILED, found.line()
    for word in words:
        assert word in found.sentence, found.line()


def test_nothing_is_found_where_nothing_is_wrong(config, dataset, model, trial, edge):
    rate = min(chosen_rate(config, dataset), edge / 3)
    found = [
        cost_checks.check_precision(config),
        data_checks.check_scale(dataset),
        data_checks.check_images_differ(dataset),
        data_checks.check_folders(dataset),
        data_checks.check_mixing(replace(config, mixup_alpha=0.4, cutmix_alpha=1.0), dataset),
        check_labels(probe(model, dataset)),
        check_classes(probe(model, dataset)),
        *training_checks.check_first_steps(trial, rate),
        *training_checks.check_one_batch(trial, rate, 60),
        training_checks.check_rate(chosen_rate(config, dataset), edge, chosen_rate(config, dataset)),
        cost_checks.check_memory(config, dataset),
    ]
    assert [each.line() for each in found if each.verdict != OK] == []
    skipped = cost_checks.check_transfer(config), data_checks.check_mixing(config, dataset)
    assert [each.verdict for each in skipped] == [SKIPPED, SKIPPED]
    json.dumps([each.record() for each in found])


def shuffled(split):
    return replace(split, labels=np.random.default_rng(3).permutation(split.labels))


def test_shuffled_labels_are_named(dataset, model, trial, edge):
    wrong = replace(dataset, train=shuffled(dataset.train))
    assert_named(data_checks.check_folders(wrong), "label of another class", "train/", "shuffled")
    without_files = replace(wrong, train=replace(wrong.train, files=None))
    assert data_checks.check_folders(without_files).verdict == SKIPPED
    assert_named(check_labels(probe(model, without_files)), "nothing to do with the images")


def test_pixels_that_are_normalised_twice_are_named(dataset):
    twice = replace(dataset, mean=dataset.mean + dataset.mean * dataset.std, std=dataset.std**2)
    assert_named(data_checks.check_scale(twice), "normalised twice")


def test_a_wrong_mean_is_named(dataset):
    mean, deviation = np.float32((0.485, 0.456, 0.406)), np.float32((0.229, 0.224, 0.225))  # ImageNet's
    dark = replace(dataset.train, images=dataset.train.images // 4)
    assert_named(data_checks.check_scale(scaled(dark, dataset.val, mean=mean)), "the wrong mean or deviation")
    assert_named(data_checks.check_scale(scaled(dark, dataset.val, std=deviation)), "the wrong mean or deviation")
    assert data_checks.check_scale(scaled(dark, dataset.val)).verdict == OK


def test_a_dead_first_layer_is_named(config, dataset):
    model = network_at_start(config, None, dataset)
    first = next(layer for layer in model.layers if "stem" in layer.name and layer.weights)
    first.kernel.assign(np.zeros(first.kernel.shape))
    norm = next(variable for variable in model.variables if variable.path.startswith("stem") and variable.name == "gamma")
    norm.assign(np.zeros(norm.shape))
    found = list(training_checks.check_first_steps(Trial(config, dataset, model), 0.0))[1]
    assert_named(found, "stem_conv", "dead")


@pytest.mark.parametrize(("factor", "word"), [(100, "too large"), (1e-6, "too small")])
def test_a_rate_far_from_usual_is_named(factor, word, config, dataset, edge):
    usual = chosen_rate(config, dataset)
    assert_named(training_checks.check_rate(factor * usual, edge, usual), word)


def test_a_frozen_backbone_without_a_source_is_named(config):
    assert_named(cost_checks.check_transfer(replace(config, freeze="backbone")), "random weights", "init_from")
    assert cost_checks.check_transfer(replace(config, freeze="backbone", init_from="r")).verdict == OK


def test_classes_that_are_swapped_between_splits_are_named(dataset, model):
    swapped = np.array([2, 1, 0])
    val = replace(dataset.val, labels=swapped[dataset.val.labels])
    assert_named(data_checks.check_folders(replace(dataset, val=val)), "of val", "swapped")
    found = check_classes(probe(model, replace(dataset, val=replace(val, files=None))))
    assert_named(found, "dark and light", "swapped")
    mixed_up = replace(dataset, val=replace(val, labels=(dataset.val.labels + 1) % 3, files=None))
    assert_named(check_classes(probe(model, mixed_up)), "swapped")


def test_images_that_are_all_equal_are_named(dataset):
    same = replace(dataset.train, images=np.tile(dataset.train.images[:1], (120, 1, 1, 1)))
    assert_named(data_checks.check_images_differ(replace(dataset, train=same)), "all 120 images of train are equal")
    blank = replace(
        dataset.train, images=np.zeros_like(dataset.train.images) + np.arange(120, dtype="uint8")[:, None, None, None]
    )
    assert_named(data_checks.check_images_differ(replace(dataset, train=blank)), "of one colour")


@pytest.mark.parametrize("alphas", [{"mixup_alpha": 0.4}, {"cutmix_alpha": 1.0}])
def test_mixing_with_one_image_is_named(alphas, config, dataset, monkeypatch):
    import datasets.batches

    draw = datasets.batches.draw_mix

    def with_the_first(random, count, *how):
        partner, *rest = draw(random, count, *how)
        return np.zeros_like(partner), *rest

    monkeypatch.setattr(datasets.batches, "draw_mix", with_the_first)
    assert_named(data_checks.check_mixing(replace(config, **alphas), dataset), "mixed with one image")


def test_a_last_batch_of_one_image_that_is_mixed_with_itself_is_named(config, dataset):
    found = data_checks.check_mixing(replace(config, mixup_alpha=0.4, batch_size=17), dataset)
    assert_named(found, "one image", "with itself")


def test_emulated_bfloat16_is_named(config, monkeypatch):
    monkeypatch.setattr("foundation.devices.computes_bfloat16", lambda: False)
    assert_named(cost_checks.check_precision(replace(config, precision="mixed_bfloat16")), "emulates bfloat16", "times as long")
    assert cost_checks.check_precision(config).verdict == OK


def test_a_batch_that_cannot_be_learned_and_images_that_do_not_help_are_named(config, dataset, model):
    """Images that are equal, with different labels: there is nothing that a network could learn."""
    same = replace(dataset.train, images=np.tile(dataset.train.images[:1], (120, 1, 1, 1)))
    trial = Trial(config, replace(dataset, train=same), model)
    heart, baseline = training_checks.check_one_batch(trial, 0.01, 8)
    assert_named(heart, "can't learn even one batch")
    assert_named(baseline, "do not help")


def test_too_little_memory_is_named(config, dataset, monkeypatch):
    monkeypatch.setattr(cost_checks, "available_bytes", lambda: 1 << 20)
    assert_named(cost_checks.check_memory(config, dataset), "too little")


def test_a_network_that_is_sure_of_nothing_true_is_named(config, dataset):
    model = network_at_start(config, None, dataset)
    kernel = next(variable for variable in model.variables if variable.path == "classifier/kernel")
    kernel.assign(10 * np.asarray(kernel.numpy()))
    found, _ = training_checks.check_first_steps(Trial(config, dataset, model), 0.0)
    assert_named(found, "sure of wrong answers")


def test_the_first_batch_is_drawn_with_its_labels(config, dataset):
    images, labels = first_batch(replace(config, mixup_alpha=0.4, label_smoothing=0.1), dataset)
    assert images.shape == (16, 12, 12, 3) and labels.shape == (16, 3)
    draw_batch(images, labels, dataset, "a batch")
    assert labels.min() == pytest.approx(0.0, abs=1e-6) and labels.sum(1) == pytest.approx(np.ones(16))
    assert label_in_words(np.array([0.0, 1.0, 0.0]), NAMES) == "grey"
    assert label_in_words(np.array([0.3, 0.7]), NAMES[:2]) == "grey 70 % + dark 30 %"
    assert label_in_words(np.array([0.0, 0.3, 0.7]), NAMES) == "light 70 % + grey 30 %"


def test_there_are_as_many_steps_as_there_is_time_for():
    assert Plan.of(32, 0.0001, 30.0) == Plan(150, 100, 32)
    assert Plan.of(128, 0.05, 30.0) == Plan(60, 40, 8)
    assert Plan.of(4, 1.0, 30.0).batch_size == 4


def test_the_command_says_all_at_once_and_leaves_a_record(image_folder, in_folder, monkeypatch, capsys):
    """A run with two faults: a backbone frozen at random weights, and a rate 100 times too large."""
    flags = ["--model", "resnet6n2", "--n", "1", "--dataset", f"folder:{image_folder}", "--freeze", "backbone", "--run", "r"]
    monkeypatch.setattr("sys.argv", ["train.py", *flags, "--precision", "float32", "--init-lr", "1000", "--check"])
    monkeypatch.setattr("lab.trust.check.TRAINING_SECONDS", 0.0)  # so few steps as tell anything
    assert train.main() == 1
    said = capsys.readouterr().out
    record = json.loads((in_folder / "output/check/r/check.json").read_text())
    assert {"frozen layers", "learning rate"} <= set(record["failed"])
    lines = [line for line in said.splitlines() if re.match("ok|FAILED|skipped", line)]
    assert len(lines) == len(record["checks"]) and all(re.search(r"\d", line) for line in lines if line.startswith("ok"))
    assert Image.open(in_folder / "output/check/r/batch.png").size[0] > 800
    assert {path.name for path in (in_folder / "output").iterdir()} == {"check"}


@pytest.mark.parametrize(("failed", "done"), [(0, ["check", "rate"]), (1, ["check"])])
def test_a_rate_is_looked_for_after_the_check_unless_that_fails(failed, done, image_folder, in_folder, monkeypatch):
    asked = []
    monkeypatch.setattr("sys.argv", ["train.py", "--dataset", f"folder:{image_folder}", "--find-lr", "--check"])
    monkeypatch.setattr("lab.trust.check.check", lambda config: asked.append("check") or failed)
    monkeypatch.setattr("lab.training.experiment.find_learning_rate", lambda config: asked.append("rate"))
    assert bool(train.main()) == bool(failed) and asked == done
