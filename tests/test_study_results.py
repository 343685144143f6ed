"""Statements of a study about its runs: intervals, differences, machines, missing seeds."""

from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lab.reports.comparisons import Comparison, adjusted
from lab.reports.live import Live
from lab.reports.results import Result, questions_of
from lab.reports.statistics import Estimate, paired_difference, paired_values
from lab.reports.study_report import computed_on
from lab.runs import environment
from lab.runs.run import Run
from lab.studies import find
from lab.studies.study import Session

values = st.lists(st.floats(0, 100), min_size=2, max_size=8)


@given(values)
def test_an_interval_is_that_of_the_t_test(numbers):
    estimate = Estimate.of(numbers)
    assert estimate.mean == pytest.approx(np.mean(numbers)) and estimate.count == len(numbers)
    if np.std(numbers) > 1e-6:
        wanted = stats.ttest_1samp(numbers, 0).confidence_interval(0.95)
        assert estimate.interval == pytest.approx((wanted.low, wanted.high), rel=1e-6, abs=1e-9)


@given(values, values)
def test_a_paired_difference_is_that_of_the_paired_t_test(ours, theirs):
    count = min(len(ours), len(theirs))
    difference = paired_difference(dict(enumerate(ours)), dict(enumerate(theirs)))
    assert difference.count == count
    gaps = np.subtract(ours[:count], theirs[:count])
    if np.std(gaps) > 1e-6:
        wanted = stats.ttest_rel(ours[:count], theirs[:count]).confidence_interval(0.95)
        assert difference.interval == pytest.approx((wanted.low, wanted.high), rel=1e-6, abs=1e-9)


def test_differences_that_are_all_the_same_claim_no_certainty():
    same = result("a", [80.0 + 5 / 9, 70.0 + 5 / 9], [80.0, 70.0])
    assert same.difference.interval is None and same.difference.excludes_zero is None
    assert same.comparison.sentence() == (
        "a against b: +0.56 points (a pilot of two seeds, too few for a verdict; the same for each of 2 seeds, hence without an"
        " interval)."
    )


@given(values, st.floats(0, 100))
def test_gains_that_are_equal_but_for_rounding_claim_no_certainty(numbers, gain):
    residue = {seed: (number + gain - number) - gain for seed, number in enumerate(numbers)}
    assert Estimate.of(list(residue.values())).interval is None


def test_means_of_other_seeds_are_not_compared_and_a_report_says_which_there_are(tmp_path):
    study = find("bag_of_tricks")
    arms = study.arms_at("cpu")[:3]
    runs = study.plan("bag_of_tricks", "cpu", arms, 3, tmp_path, {})
    for planned in runs:
        pretend(planned, 0.8 + 0.01 * planned.seed - 0.1 * (planned.seed == 2))
    third = runs.pop(next(i for i, planned in enumerate(runs) if (planned.arm, planned.seed) == ("+ Mish", 2)))
    never = replace(third, config=replace(third.config, run="never"))
    never.begin()
    never.fail("error: no memory")
    runs.append(never)
    Live(Session(study, "bag_of_tricks", "cpu", runs, "python study.py bag_of_tricks"), tmp_path).finish()
    report = (tmp_path / "report.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in report.splitlines() if line.startswith("|")]
    cells = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:5]}
    assert [row["seeds"] for row in cells.values()] == ["3", "2", "3"]
    assert cells["+ Mish"]["difference"] == "+0.00 (each seed)" == cells["+ SE"]["difference"]
    assert cells["+ SE"]["from xresnet20"] == "+0.00 (each seed)" and cells["+ Mish"]["from xresnet20"] == "-"
    assert "Not every arm has every seed yet" in report and "+ Mish, seed 2: error: no memory" in report
    assert "claimed: the source's test accuracy (%), on cifar10 after 180 epochs" in report
    assert "train 90 images, val 90 images, test 90 images" in report


def pretend(planned, accuracy):
    """Leaves what a finished run leaves."""
    split = {"loss": 1.0, "accuracy": accuracy, "f1_micro": accuracy, "f1_macro": accuracy, "images": 90}
    planned.run.output.mkdir(parents=True)
    planned.run.write_json("config.json", asdict(planned.config))
    numbers = {"epochs": planned.config.epochs, "best_epoch": 2, "params": 100_000, "macs": 10_000_000}
    numbers |= {"seconds": 60.0, "images_per_second": 90.0}
    planned.run.write_json("metrics.json", numbers | dict.fromkeys(("train", "val", "test"), split))
    machine = {"device": "a CPU", "threads": 1, "cores": 2, "backend": "torch", "versions": {}, "git_commit": "0" * 40}
    planned.run.write_json("environment.json", machine)


def test_a_run_that_goes_on_elsewhere_names_both_machines(tmp_path, monkeypatch):
    run = Run("r", tmp_path / "output", tmp_path / "weights")
    run.output.mkdir(parents=True)
    machine = {"device": "a CPU", "threads": 1, "cores": 2, "backend": "torch", "versions": {}, "git_commit": "0" * 40}
    for device, is_resumed in (("a CPU", False), ("a CPU", True), ("a GPU", True), ("a GPU", True)):
        monkeypatch.setattr(environment, "environment", lambda config, device=device: machine | {"device": device})
        environment.record_environment(run, None, "of this content", is_resumed)
    machine["data"] = "of this content"
    there = machine | {"device": "a GPU"}
    assert run.read_json("environment.json") == machine | {"continued": [there]}
    planned = SimpleNamespace(run=run, is_finished=lambda: True)
    shown = "a CPU, 1 of 2 threads a run, torch , commit 0000000; and on: a GPU, 1 of 2 threads a run, torch , commit 0000000"
    assert computed_on([planned]) == shown
    environment.record_environment(run, None, "of this content", is_resumed=False)
    assert run.read_json("environment.json") == there


def test_a_single_seed_has_no_interval_and_shows_nothing():
    estimate = paired_difference({0: 91.0, 1: 92.0}, {1: 90.0, 2: 89.0})
    assert (estimate.mean, estimate.count, estimate.interval, estimate.excludes_zero) == (2.0, 1, None, None)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    assert "a against b: +2.00 points (a single seed, which" in result("a", [90.0], [88.0]).comparison.sentence()


def result(name, ours, theirs):
    accuracies = dict(enumerate(ours))
    values = tuple(paired_values(accuracies, dict(enumerate(theirs))).values())
    return Result(name, None, "b", accuracies, {}, {}, adjusted([Comparison(name, "b", values)])[0])


def test_a_difference_within_noise_is_called_so():
    within = result("a", [90.0, 92.0, 88.0], [89.0, 90.0, 91.0])
    assert "not distinguishable from b" in within.comparison.sentence()
    assert "a is 2.00 points better than b" in result("a", [90.1, 92.0, 88.0], [88.0, 90.0, 86.1]).comparison.sentence()
    assert "worse" in result("a", [80.0, 80.1, 80.2], [88.0, 88.2, 88.1]).comparison.sentence()


def test_a_contrast_is_a_difference_of_paired_differences():
    study = find("residual_vs_plain")
    accuracies = {"plain20": {0: 80.0, 1: 81.0}, "resnet20": {0: 82.0, 1: 82.0}}
    accuracies |= {"plain56": {0: 40.0, 1: 50.0}, "resnet56": {0: 80.0, 1: 84.0}}
    results = [Result(name, None, None, values, {}, {}) for name, values in accuracies.items()]
    (asked,) = questions_of(study, results)
    (contrast,) = adjusted([Comparison(asked.name, asked.other, tuple(asked.values.values()))])
    gains = np.array([40.0 - 2.0, 34.0 - 1.0])
    low, high = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    assert contrast.values == pytest.approx(gains) and contrast.difference.interval == pytest.approx((low, high))
    assert "20: +35.50 points (a pilot of two seeds" in contrast.sentence()
    assert questions_of(study, results[:3]) == []


def test_a_report_tells_what_each_network_takes_for_an_image(tmp_path, capsys, monkeypatch):
    times = {"mini-basic-post": 1.25, "mini-basic-pre": 2.5}
    monkeypatch.setattr("lab.benchmarks.inference.milliseconds_of", lambda configs: [times[config.model] for config in configs])
    study = find("block_design")
    runs = study.plan("block_design", "smoke", study.arms[:2], 1, tmp_path, {"images_per_class": 40})
    for planned in runs:
        pretend(planned, 0.5)
    session = Session(study, "block_design", "smoke", runs, "python study.py block_design")
    Live(session, tmp_path).finish()
    report = (tmp_path / "report.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in report.splitlines() if line.startswith("|")]
    column = rows[0].index("ms an image")
    assert [row[column] for row in rows[2:4]] == ["1.25", "2.50"]
    assert "train keeps at most 40 images of each class" in report and "mini-basic-pre" in capsys.readouterr().out
