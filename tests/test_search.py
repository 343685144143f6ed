"""Searches: chosen by val, pruned by looks, claimed only with fresh seeds; training itself is replaced."""

import csv
import json
import sys
from math import log10

import numpy as np
import pytest
from pretended_runs import PretendingEngine, leave_result, replace_engine

from foundation.errors import RunFailure, UserError
from lab.studies.search import FRESH, Range

COMMAND = ["search", "--over", "init_lr=0.001:1:log", "--over", "norm=batch,group", "--epochs", "2", "--trials", "6"]


class Pretended(PretendingEngine):
    """The best rate is 0.03; test is best where val is worst, so that a peek shows. Runs after the first `fails_from` fail."""

    fails_from = None

    def identity(self, config):
        return config.init_lr, config.norm, config.seed

    def finish(self, config, planned):
        if self.fails_from is not None and len(self.begun) > self.fails_from:
            return
        noise = np.random.default_rng([config.seed, int(1e6 * config.init_lr)]).normal(0, 0.3)
        val = 80 - 4 * abs(log10(config.init_lr / 0.03)) - 3 * (config.norm == "group") + noise
        test = 150 - val if config.seed < FRESH else val
        leave_result(planned, {"train": 0.9, "val": val / 100, "test": test / 100})


@pytest.fixture
def engine(monkeypatch, in_folder):
    return replace_engine(monkeypatch, Pretended())


def rows_of(folder):
    with open(folder / "output/studies/search-init_lr-norm/trials.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_search_is_chosen_by_val_pruned_and_claimed_with_fresh_seeds(engine, ask, in_folder):
    code, said = ask(*COMMAND)
    assert code == 0
    rows = rows_of(in_folder)
    assert [row["trial"] for row in rows] == ["as it is", *(f"trial {i}" for i in range(1, 7))]
    complete = [row for row in rows if row["state"] == "complete"]
    pruned = [row for row in rows if row["state"] == "worse than the best"]
    assert pruned and {row["seeds"] for row in complete} == {"5"} and {row["seeds"] for row in pruned} <= {"3", "5"}
    winner = max(complete, key=lambda row: float(row["val_accuracy_percent"]))
    folder = in_folder / "output/studies/search-init_lr-norm"
    (comparison,) = json.loads((folder / "comparisons.json").read_text())
    assert comparison["name"] == f"init_lr={winner['init_lr']}, norm={winner['norm']}" and comparison["versus"] == "as it is"
    assert comparison["seeds"] == 5
    fresh = {seed for _, _, seed in engine.begun if seed >= FRESH}
    assert fresh == set(range(FRESH, FRESH + 5)) and {seed for *_, seed in engine.begun} - fresh == set(range(5))
    assert "no trial has used them" in (folder / "report.md").read_text() and "val" in said

    before = len(engine.begun)
    assert ask(*COMMAND)[0] == 0 and len(engine.begun) == before
    assert ask(*COMMAND, "--report")[0] == 0 and len(engine.begun) == before


def test_a_killed_search_goes_on_as_if_it_had_not_been_killed(engine, ask, in_folder, tmp_path):
    engine.stop_after = 12  # within a trial
    with pytest.raises(KeyboardInterrupt):
        ask(*COMMAND)
    engine.stop_after = None
    ask(*COMMAND)
    rows, begun = rows_of(in_folder), engine.begun.copy()
    assert len(set(begun)) == len(begun)  # nothing is trained twice
    engine.begun.clear()
    ask(*COMMAND, "--output-dir", "whole")
    (in_folder / "output").rename(in_folder / "killed")
    (in_folder / "whole").rename(in_folder / "output")
    assert rows_of(in_folder) == rows and sorted(engine.begun) == sorted(begun)


def test_where_nothing_is_better_nothing_is_claimed(engine, ask, in_folder):
    code, said = ask("search", "--over", "init_lr=0.5:1", "--epochs", "2", "--trials", "2")
    assert code == 0 and "nothing is claimed, and nothing to repeat" in said
    assert not (in_folder / "output/studies/search-init_lr/report.md").exists()
    assert not [seed for *_, seed in engine.begun if seed >= FRESH]


def test_other_ranges_are_another_search(engine, ask):
    ask("search", "--over", "init_lr=0.01:0.05:log", "--epochs", "2", "--trials", "2")
    before = len(engine.begun)
    with pytest.raises(UserError, match=r"was begun over init_lr=0\.01:0\.05:log: give these, or choose another --output-dir"):
        ask("search", "--over", "init_lr=0.2:0.9:log", "--epochs", "2", "--trials", "2")
    assert ask("search", "--over", "init-lr=0.010:0.05:log", "--epochs", "2", "--trials", "2")[0] == 0
    assert len(engine.begun) == before


def test_settings_that_cannot_be_together_are_a_trial_without_a_result(engine, ask, in_folder):
    over = ["search", "--over", "nesterov=True,False", "--over", "optimizer=adam,rmsprop", "--epochs", "2", "--trials", "4"]
    for _ in range(2):
        assert ask(*over)[0] == 0
    with open(in_folder / "output/studies/search-nesterov-optimizer/trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    refused = [row for row in rows if row["nesterov"] == "True"]
    assert len(rows) == 5 and refused
    assert all("nesterov needs optimizer" in row["state"] and not row["val_accuracy_percent"] for row in refused)


def test_trials_that_failed_are_tried_again(engine, ask, in_folder):
    engine.fails_from = 10
    with pytest.raises(RunFailure, match=r"trial 6 failed, see trials\.csv"):
        ask(*COMMAND)
    assert any(row["state"] == "failed" for row in rows_of(in_folder))
    engine.fails_from = None
    assert ask(*COMMAND)[0] == 0
    rows = rows_of(in_folder)
    assert len(rows) == 7 and not any(row["state"] == "failed" for row in rows)


def test_a_report_of_no_trial_says_so(engine, ask):
    assert ask(*COMMAND, "--report") == (0, "no trial is finished yet: there is nothing to report\n") and not engine.begun


def test_ranges_are_read_and_rounded():
    assert Range.of("init_lr=0.01:1:log") == Range("init_lr", 0.01, 1.0, is_log=True)
    assert Range.of("n=1:5") == Range("n", 1, 5) and Range.of("norm=batch,group").choices == ("batch", "group")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "takes --over for each setting once"),
        (["--over", "n=1:2", "--over", "n=1:3"], "takes --over for each setting once"),
        (["--over", "init_lr=1:0.1"], "is no range"),
        (["--over", "init_lr=0:1:log"], "begins above 0"),
        (["--over", "init_lr=0.1:1:lin"], "is no range"),
        (["--over", "norm=batch:group"], "is no range"),
        (["--over", "inti_lr=0.1:1"], "did you mean 'init_lr'"),
        (["--over", "seed=1:5"], "an arm can't set seed"),
        (["--over", "n=1:5", "--engine", "slurm"], "waits for its trials"),
        (["--over", "n=1:5", "--publish"], "takes neither --publish nor --arms"),
        (["--over", "n=1:5", "--arms", "x"], "takes neither --publish nor --arms"),
        (["--over", "n=1:5", "--set", "n=2"], "--over n tries several values"),
        (["--over", "epochs=1:5", "--epochs", "2"], "--over epochs tries several values"),
        (["--over", "val_fraction=0.1:0.3"], "compared on the same images"),
        (["--over", "n=1:5", "--trial-seeds", "2"], "--trial-seeds is 2, allowed: at least 3"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, engine, ask):
    with pytest.raises(UserError, match=words):
        ask("search", *arguments)
    assert not engine.begun


def test_without_optuna_one_line_says_what_to_install(monkeypatch, ask, engine):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"needs the package optuna: pip install -r requirements/search\.txt"):
        ask(*COMMAND)
