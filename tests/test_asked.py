"""Questions without a file: of runs, and written as a study's file."""

import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from conftest import ROOT
from pretended_runs import PretendingEngine, leave_result, replace_engine

import study as script
from foundation.errors import UserError
from foundation.settings import Config
from lab import studies
from lab.runs.run import Run
from lab.studies import saving
from lab.studies.asked import compare, compare_runs


@pytest.fixture
def runs(tmp_path):
    """Two runs that differ in norm and seed, one that repeats the first, and one of other data."""
    usual = replace(Config(), model="resnet6n2", n=1, epochs=7, output_dir=str(tmp_path), weights_dir=str(tmp_path))
    own = {
        "first": {},
        "second": {"norm": "group", "norm_groups": 4, "seed": 3},
        "again": {"seed": 9},
        "other": {"dataset": "digits:0-4"},
        "split": {"val_fraction": 0.3},
    }
    for name, settings in own.items():
        config = replace(usual, run=name, **settings)
        run = Run.of(config)
        run.output.mkdir()
        run.write_json("config.json", asdict(config))
    return tmp_path


def test_runs_are_repeated_with_their_settings_and_more_seeds(runs):
    name, asked = compare_runs(["first", "second"], runs)
    assert name == "compare-norm-norm_groups" and [arm.settings["norm"] for arm in asked.arms] == ["default", "group"]
    assert asked.remarks[0].startswith("What differs: first -> second: norm 'batch' -> 'group', norm_groups")
    planned = asked.plan(name, "asked", asked.arms, 4, runs / "studies", {})
    assert {one.config.seed for one in planned} == {0, 1, 2, 3} and len(planned) == 8
    kept = {(one.config.model, one.config.n, one.config.epochs, one.config.init_lr) for one in planned}
    assert kept == {("resnet6n2", 1, 7, 0.0)}
    assert "the settings of runs first and second" in asked.source


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["first"], "takes two runs or more"),
        (["first", "again"], "have the same settings but for the seed"),
        (["first", "other"], "are of other data"),
        (["first", "split"], r"are of other data \(val_fraction"),
        (["first", "secnd"], "did you mean 'second'"),
    ],
)
def test_runs_that_cannot_be_compared_are_one_line(names, words, runs):
    with pytest.raises(UserError, match=words):
        compare_runs(names, runs)


def test_a_verdict_waits_for_the_seeds_of_both_arms(monkeypatch, in_folder, ask):
    class Failing(PretendingEngine):
        def identity(self, config):
            return config.norm

        def finish(self, config, planned):
            """The reference lacks two of its seeds."""
            if config.norm == "group" or config.seed < 3:
                share = 0.7 + 0.1 * (config.norm == "group") + 0.001 * config.seed**2
                leave_result(planned, {"train": share, "val": share, "test": share})

    replace_engine(monkeypatch, Failing())
    _, said = ask("compare", "--arm", "norm=batch", "--arm", "norm=group", "--seeds", "5", "--epochs", "2")
    lines = [line for line in said.splitlines() if "5 of 5 seeds" in line and "against" in line]
    assert lines and all(line.endswith("no verdict before all seeds are there") for line in lines)


LONG = "norm=group,norm_groups=4,schedule=cosine,label_smoothing=0.1,mixup_alpha=0.2,padding=reflect,activation=mish"


def test_a_comparison_is_written_as_a_study_and_is_the_same(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(saving, "FOLDER", tmp_path / "lab" / "studies")
    arms = ["--arm", "norm=batch", "--arm", LONG]
    monkeypatch.setattr(
        "sys.argv",
        ["study.py", "compare", *arms, "--set", "n=1", "--epochs", "3", "--seeds", "5", "--margin", "0.5", "--save", "my_norms"],
    )
    assert script.main() == 0
    assert capsys.readouterr().out == "lab/studies/my_norms.py is written; ask it by: python study.py my_norms\n"
    path = tmp_path / "lab/studies/my_norms.py"
    found = {}
    exec(path.read_text(), found)
    _, asked = compare(["norm=batch", LONG])
    scale = found["STUDY"].scales["asked"]
    assert (scale.settings, scale.seeds) == ({"epochs": 3, "n": 1}, 5)
    assert replace(found["STUDY"], scales=asked.scales) == replace(asked, margin=0.5)
    for check in (["check", "--ignore", "E501"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *check, "--config", ROOT / "pyproject.toml", path], check=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--arm", "norm=batch", "--arm", "norm=group", "--set", "norm=layer"], "--set can't change norm"),
        (["--arm", "val_fraction=0.1", "--arm", "val_fraction=0.3"], "compared on the same images"),
        (["--arm", "dataset=digits:0-4", "--arm", "dataset=digits:5-9"], "compared on the same images"),
    ],
)
def test_a_comparison_that_cannot_be_is_not_written(arguments, words, monkeypatch, tmp_path):
    monkeypatch.setattr(saving, "FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["study.py", "compare", *arguments, "--save", "bad"])
    with pytest.raises(UserError, match=words):
        script.main()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "words"),
    [("depth", "is there already"), ("study", "is there already"), ("My-Norms", "has small letters"), ("class", "small letters")],
)
def test_names_that_a_study_cannot_have_are_one_line(name, words):
    _, asked = compare(["norm=batch", "norm=group"])
    with pytest.raises(UserError, match=words):
        saving.save(name, asked, 3, {})
    assert "STUDY" in (ROOT / "lab/studies/depth.py").read_text() and "my_norms" not in studies.names()


def test_the_margin_and_what_all_share_are_written_too():
    _, asked = compare(["norm=batch", "norm=group"])
    full = replace(asked, margin=0.5, shared={"data_dir": 'a "b"', "nesterov": True}, remarks=("What differs: n 1 -> 2.",))
    found = {}
    exec(saving.text_of(full, 3, {}), found)
    assert replace(found["STUDY"], scales=full.scales) == full


def test_arms_are_runs_or_settings(monkeypatch):
    monkeypatch.setattr("sys.argv", ["study.py", "compare", "a", "b", "--arm", "norm=batch"])
    with pytest.raises(UserError, match="either runs or settings"):
        script.main()
    monkeypatch.setattr("sys.argv", ["study.py", "depth", "a"])
    with pytest.raises(UserError, match="RUN is not for study 'depth', allowed with: python study"):
        script.main()
