"""Measures of a study beside accuracy, by name: once, kept in its folder, one row for every table."""

import json
from dataclasses import replace

import pytest

from foundation.settings import Config
from lab.reports import measures
from lab.reports.measures import MEASURES, Measure, add_measures, measured
from lab.reports.results import Result

asked = []


def depths_of(configs):
    asked.append([config.n for config in configs])
    return [10.0 * config.n for config in configs]


@pytest.fixture(autouse=True)
def a_toy(monkeypatch):
    monkeypatch.setitem(
        MEASURES, "toy", Measure("toys", ".1f", "number of toys", "counted", "test_measures:depths_of", ("torch",))
    )
    asked.clear()


def results(*depths):
    metrics = {"test": {"accuracy": 0.5, "images": 10}}
    return [
        Result(f"arm {n}", None, None, {0: 50.0, 1: 51.0}, {seed: dict(metrics) for seed in (0, 1)}, {}, config=Config(n=n))
        for n in depths
    ]


def test_a_measure_is_in_the_metrics_of_every_seed_and_taken_once(tmp_path):
    for _ in range(2):
        found = results(1, 2)
        add_measures(found, ("toy",), tmp_path)
        assert [result.mean("toy") for result in found] == [10.0, 20.0]
        assert [list(measured([result])) for result in found] == [["toy"], ["toy"]]
    assert asked == [[1, 2]]
    kept = json.loads((tmp_path / measures.FILE).read_text())
    assert kept["arm 2"]["toy"]["value"] == 20.0 and kept["arm 2"]["toy"]["device"]


def test_other_settings_another_machine_and_damage_are_measured_anew(tmp_path, monkeypatch):
    add_measures(results(1, 2), ("toy",), tmp_path)
    other = results(1, 2)
    other[1].config = replace(other[1].config, n=5)
    add_measures(other, ("toy",), tmp_path)
    assert [result.mean("toy") for result in other] == [10.0, 50.0]
    monkeypatch.setattr(measures, "device_name", lambda: "another")
    add_measures(results(1, 5), ("toy",), tmp_path)
    (tmp_path / measures.FILE).write_text('{"arm 1": 3}')
    add_measures(results(1, 5), ("toy",), tmp_path)
    assert asked == [[1, 2], [1, 5], [1, 5], [1, 5]]


def test_a_backend_that_can_not_measure_leaves_it_out(tmp_path, monkeypatch):
    monkeypatch.setitem(MEASURES, "toy", replace(MEASURES["toy"], backends=("jax",)))
    found = results(1)
    add_measures(found, ("toy",), tmp_path)
    assert not measured(found) and not asked and not list(tmp_path.iterdir())
