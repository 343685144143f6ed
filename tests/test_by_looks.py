"""Studies that look at their results while seeds come, run to their reports; training itself is replaced."""

import json

import numpy as np
import pytest
from pretended_runs import PretendingEngine, leave_result, replace_engine

from foundation.errors import UserError

# Mean test accuracy of each norm; paired differences deviate by about 0.3 points.
ACCURACY = {"batch": 80.0, "group": 86.0, "layer": 80.0}
COMPARE = ["compare", *(word for norm in ACCURACY for word in ("--arm", f"norm={norm}")), "--epochs", "2"]


class Pretended(PretendingEngine):
    """Runs of `fails` fail; of the others, the norm decides how accurate they are."""

    def __init__(self):
        super().__init__()
        self.fails = set()

    def identity(self, config):
        return config.norm, config.seed

    def finish(self, config, planned):
        if self.identity(config) in self.fails:
            return
        arm = [ord(config.norm[0]), *([1] if config.padding == "reflect" else [])]
        noise = np.random.default_rng([config.seed, *arm]).normal(0, 0.2)
        accuracy = (ACCURACY[config.norm] + config.seed % 3 + noise) / 100
        leave_result(planned, dict.fromkeys(("train", "val", "test"), accuracy))


@pytest.fixture
def engine(monkeypatch, in_folder):
    return replace_engine(monkeypatch, Pretended())


def test_a_study_stops_where_its_questions_are_answered_and_goes_on_where_it_was_stopped(engine, ask, in_folder):
    command = [*COMPARE, "--detect", "1.5"]
    engine.stop_after, engine.jobs = 5, 2
    with pytest.raises(KeyboardInterrupt):
        ask(*command)
    rows = json.loads((in_folder / "output/studies/compare-norm/progress.json").read_text())
    assert [row["arm"] for row in rows] == ["norm=batch", "norm=group", "norm=layer"] and rows[0]["seeds"] == "2 of 3 seeds"
    engine.stop_after, engine.jobs = None, 100
    code, said = ask(*command)
    assert code == 0
    seeds = {norm: sorted(seed for own, seed in engine.begun if own == norm) for norm in ACCURACY}
    assert seeds["group"] == [0, 1, 2]  # six points are seen at the first look
    assert seeds["layer"] == list(range(len(seeds["layer"]))) == seeds["batch"] and 5 <= len(seeds["layer"]) <= 12
    assert "norm=group: 3 of 3 seeds, mean" in said and "against norm=batch: answered: better" in said
    assert "open after 3 seeds" in said and "norm=layer is the same as norm=batch within 1.5 points" in said
    folder = in_folder / "output/studies/compare-norm"
    group, layer = json.loads((folder / "comparisons.json").read_text())
    assert (group["verdict"], group["seeds"], group["look"]) == ("better", 3, 1)
    assert (layer["verdict"], layer["look"]) == ("the same", 2 if layer["seeds"] == 5 else 3)
    report = (folder / "report.md").read_text()
    assert "norm=group against norm=batch: answered at look 1, with 3 paired seeds" in report
    assert (
        f"{len(engine.begun)} runs; 12 seeds of every arm are 36." in report and "A fixed plan that detects 1.5 points" in report
    )
    assert "p is sequential" in report and not (folder / "progress.json").exists()

    before = len(engine.begun)
    assert ask(*command)[0] == 0 and len(engine.begun) == before
    (in_folder / "output/studies/compare-norm/report.md").unlink()
    assert ask(*command, "--report")[0] == 0 and (folder / "report.md").read_text() == report
    for other in (["--detect", "2"], ["--detect", "1.5", "--most-seeds", "20"], ["--seeds", "3"], ["--report"]):
        with pytest.raises(UserError, match=r"began with --detect 1\.5 --most-seeds 12 --margin 1\.5"):
            ask(*COMPARE, *other)


def test_what_the_wish_takes_is_forecast_before_the_pilot_and_from_it(engine, ask, monkeypatch):
    monkeypatch.setattr("lab.benchmarks.estimate.seconds_of", lambda config: 10.0)
    command = [*COMPARE, "--detect", "1"]
    code, said = ask(*command, "--dry-run")
    assert code == 0 and not engine.begun
    assert "9 runs: about 1m30s" in said and "looks after 3, 5, 8 and 12 seeds" in said and "at most 36 runs in all" in said
    assert "deviate by 0.25 points (if that is so; the first look measures it): about 5 seeds" in said
    engine.stop_after = 10  # within the second look
    with pytest.raises(KeyboardInterrupt):
        ask(*command)
    _, said = ask(*command, "--dry-run")
    assert "(as measured so far): about" in said and "if that is so" not in said


def test_runs_that_fail_are_missed_and_an_arm_that_always_fails_is_given_up(engine, ask, in_folder):
    engine.fails = {("layer", seed) for seed in range(12)} | {("group", 1)}
    code, _ = ask(*COMPARE, "--detect", "1.5", "--most-seeds", "8")
    assert code == 1
    assert sorted(seed for norm, seed in engine.begun if norm == "layer") == [0, 1, 2]
    report = (in_folder / "output/studies/compare-norm/report.md").read_text()
    assert "norm=group against norm=batch: answered at look 1, with 4 paired seeds" in report
    assert "norm=layer against norm=batch: given up, since no run has a result" in report


def test_the_jobs_of_a_cluster_are_those_of_the_next_look(engine, ask, in_folder):
    command = [*COMPARE, "--detect", "1.5", "--engine", "slurm"]
    _, said = ask(*command)
    (listed,) = in_folder.rglob("slurm-runs-*.txt")
    assert len(listed.read_text().splitlines()) == 9 and "again queues the next look's runs" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--most-seeds", "5"], "--most-seeds is for --detect"),
        (["--detect", "1", "--seeds", "3"], "--seeds fixes the number of seeds, which --detect decides"),
        (["--detect", "0"], "--detect is 0, allowed: points above 0"),
        (["--detect", "1", "--most-seeds", "2"], "--most-seeds is 2, allowed: at least 3"),
        (["--detect", "1", "--arms", "norm=batch"], "takes arms that are compared"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, ask, engine):
    with pytest.raises(UserError, match=words):
        ask(*COMPARE, *arguments)


def test_fixed_studies_have_no_verdict_before_all_seeds_are_there(engine, ask):
    engine.jobs = 1
    _, said = ask(*COMPARE, "--seeds", "3")
    assert "norm=group: 2 of 3 seeds" in said and "no verdict before all seeds are there" in said
    assert "norm=group: 3 of 3 seeds" in said and "against norm=batch: better" in said


def test_a_factorial_study_looks_at_its_effects_and_shares_out_the_gain(engine, ask, in_folder):
    factors = ["--factor", "norm=batch,group", "--factor", "padding=zero,reflect"]
    code, said = ask("factorial", *factors, "--epochs", "2", "--detect", "1.5")
    folder = in_folder / "output/studies/factorial-norm-padding"
    norm, padding, both = json.loads((folder / "comparisons.json").read_text())
    assert code == 0 and (norm["name"], norm["verdict"]) == ("norm=group", "better") and norm["difference"] > 5
    assert padding["verdict"] == both["verdict"] == "the same"
    assert len(engine.begun) == 4 * max(one["seeds"] for one in (norm, padding, both))
    assert "norm=group + padding=reflect: 3 of 3 seeds, mean" in said
    report = (folder / "report.md").read_text()
    assert "## Shares of the gain" in report and "| gain of all | " in report and "norm=group: answered at look 1" in report
