"""Names of runs: an edit of the settings makes a new run, the same settings find their own again."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import example, given
from hypothesis import strategies as st

from callbacks.early_stopping import BestEpoch, best_epoch
from foundation.errors import UserError
from foundation.paths import short_name
from foundation.settings import Config
from lab.reports.finished import find_finished
from lab.reports.training import differences, draw_side_by_side
from lab.runs import environment
from lab.runs.naming import check_given_name, choose
from lab.runs.run import NameTaken, Run
from lab.training import experiment

TORCH = {"data": "d1", "backend": "torch"}
BASE = "xresnet20-digits-0"


@pytest.fixture
def config(tmp_path):
    return Config(init_lr=0.1, output_dir=str(tmp_path / "output"), weights_dir=str(tmp_path / "weights"))


def begin(config, name, origin=TORCH):
    """A run that has a checkpoint."""
    run = Run(name, config.output_dir, config.weights_dir)
    run.output.mkdir(parents=True)
    (run.weights / "epoch-00001").mkdir(parents=True)
    run.write_json("config.json", asdict(config))
    run.write_json("environment.json", {"device": "a CPU", "versions": {}} | origin)
    return run


def name_of(config, origin=TORCH):
    return choose(config, origin).run.name


def test_every_edit_is_a_new_run_and_the_same_settings_find_their_own(config):
    assert name_of(config) == BASE
    for number, rate in enumerate((0.1, 0.2, 0.3), start=1):
        name = name_of(replace(config, init_lr=rate))
        assert name == BASE + (f"-{number}" if number > 1 else "")
        begin(replace(config, init_lr=rate), name)
    assert [name_of(replace(config, init_lr=rate)) for rate in (0.3, 0.2, 0.1)] == [f"{BASE}-3", f"{BASE}-2", BASE]


def test_what_does_not_change_the_computation_makes_no_new_run(config):
    begin(config, BASE)
    assert name_of(replace(config, keep_checkpoints=9, max_minutes=3.0, tensorboard=True)) == BASE


def test_other_data_and_another_backend_are_new_runs(config):
    begin(config, BASE)
    jax = choose(config, TORCH | {"backend": "jax"})
    assert jax.run.name == f"{BASE}-2" and "KERAS_BACKEND 'torch' -> 'jax'" in jax.introduction()
    begin(config, jax.run.name, TORCH | {"backend": "jax"})
    pictures = choose(config, TORCH | {"data": "d2"})
    assert pictures.run.name == f"{BASE}-3" and "content of the data set" in pictures.introduction()
    assert [name_of(config), name_of(config, TORCH | {"backend": "jax"})] == [BASE, f"{BASE}-2"]


def test_a_run_that_recorded_no_data_is_found_by_its_settings(config):
    begin(config, BASE, {"backend": "torch"})
    assert name_of(config) == BASE


def test_a_gap_is_filled_and_no_folder_of_another_kind_is_taken(config):
    for name, rate in ((BASE, 0.1), (f"{BASE}-3", 0.3)):
        begin(replace(config, init_lr=rate), name)
    assert name_of(replace(config, init_lr=0.2)) == f"{BASE}-2"
    (Run.of(config).output.parent / f"{BASE}-2").mkdir()
    (Run.of(config).output.parent / f"{BASE}-2" / "thesis.txt").write_text("precious")
    assert name_of(replace(config, init_lr=0.2)) == f"{BASE}-4"


def test_a_name_of_a_start_that_failed_is_free(config):
    run = begin(config, BASE)
    (run.weights / "epoch-00001").rmdir()
    assert name_of(replace(config, init_lr=0.2)) == BASE


def test_a_run_that_another_process_writes_is_not_free(config):
    other = replace(config, init_lr=0.2)
    with Run.of(config).writing(config):
        assert name_of(other) == f"{BASE}-2"
        assert name_of(config) == BASE  # its own, which its writer alone goes on with
        with pytest.raises(NameTaken, match="is being written by process"), Run.of(config).writing(config):
            pass


def test_more_epochs_go_on_where_the_rate_does_not_depend_on_them(config):
    constant = replace(config, schedule="constant")
    begin(constant, BASE)
    assert name_of(replace(constant, epochs=30)) == BASE
    assert name_of(replace(constant, epochs=10)) == f"{BASE}-2"
    begin(replace(constant, epochs=30), f"{BASE}-2")
    assert name_of(replace(constant, epochs=30)) == f"{BASE}-2"  # its very own comes before one to be made longer


def test_going_back_is_within_a_run(config):
    begin(config, BASE)
    assert name_of(replace(config, start_epoch=1)) == BASE
    with pytest.raises(UserError, match=r"init_lr 0.1 -> 0.2"):
        choose(replace(config, start_epoch=1, init_lr=0.2), TORCH)


def test_the_line_names_what_differs_from_the_newest_run_and_the_command_for_both(config):
    begin(config, BASE)
    begin(replace(config, init_lr=0.2), f"{BASE}-2")
    choice = choose(replace(config, init_lr=0.2, norm="group"), TORCH)
    assert choice.introduction() == f"new run '{BASE}-3', beside '{BASE}-2': norm 'batch' -> 'group'; "
    by_rule = choose(replace(config, init_lr=0.0), TORCH).introduction()
    assert "init_lr 0.2 -> chosen by rule; " in by_rule
    words = shlex.split(choice.comparison().partition(": ")[2])
    assert words[:5] == ["python", "visualize.py", "training", f"{BASE}-2", f"{BASE}-3"]
    assert words[5:] == ["--output-dir", config.output_dir]


def test_a_given_name_stays_strict_and_its_refusal_ends_with_a_command(config, monkeypatch):
    named = replace(config, run="mine")
    begin(named, "mine")
    check_given_name(named)
    monkeypatch.setattr("sys.argv", ["train.py", "--run", "mine", "--init-lr", "0.2"])
    with pytest.raises(UserError, match=r"init_lr 0.1 -> 0.2.* python train.py --init-lr 0.2 --run mine-2$"):
        check_given_name(replace(named, init_lr=0.2))
    with pytest.raises(UserError, match=r"exists.* --run mine-2$"):
        check_given_name(replace(named, resume="never"))


def test_a_refusal_needs_no_deep_learning_library(config):
    begin(replace(config, run="mine"), "mine")
    flags = ["--run", "mine", "--epochs", "9", "--output-dir", config.output_dir, "--weights-dir", config.weights_dir]
    code = (
        "import sys, train\nsys.argv[1:] = {}\ntry:\n    train.main()\nexcept Exception as error:\n    print(error)\n"
        "assert not {{'keras', 'torch', 'matplotlib'}} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code.format([*flags, "--init-lr", "0.1"])]  # a process of its own, where nothing is imported
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0 and "epochs 20 -> 9" in process.stdout, process.stderr


def test_of_two_starts_at_once_the_second_takes_the_next_name(config, monkeypatch):
    """Another process takes the name between the choice and the lock."""
    choice = choose(replace(config, init_lr=0.2), TORCH)
    monkeypatch.setattr(experiment, "origin_of", lambda dataset: TORCH)
    with Run.of(config).writing(config), experiment.contextlib.ExitStack() as held:
        got = experiment.hold(held, choice, replace(config, init_lr=0.2), dataset=None)
        assert got.run.name == f"{BASE}-2" and got.run.is_being_written()


def test_the_chosen_epoch_is_the_one_that_training_chose():
    random = np.random.default_rng(0)
    for monitor in ("val_accuracy", "val_loss", "val_f1_macro"):
        history = {name: random.integers(0, 4, 30).tolist() for name in ("val_accuracy", "val_loss", "val_f1_macro")}
        history["epoch"] = list(range(1, 31))
        best = BestEpoch(0, monitor)
        for epoch in range(30):
            best.on_epoch_end(epoch, {name: values[epoch] for name, values in history.items()})
        assert best_epoch(history, monitor) == best.epoch


def test_edit_run_look_edit_run_look(config, capsys):
    """The promise: two turns in one process, an interrupted one taken up again, a finished one not measured again."""
    small = replace(config, n=1, image_size=8, images_per_class=3, epochs=1, warmup_epochs=0.0)
    assert experiment.train(small) == 0
    first = capsys.readouterr().out
    assert "beside" not in first and f"watch {config.output_dir}/{BASE}/training.png" in first
    assert experiment.train(replace(small, init_lr=0.05)) == 0
    second = capsys.readouterr().out
    assert f"new run '{BASE}-2', beside '{BASE}': init_lr 0.1 -> 0.05; watch {config.output_dir}/{BASE}-2/training.png" in second
    assert f"python visualize.py training {BASE} {BASE}-2" in second
    written = (Run.of(config).output / "metrics.json").stat().st_mtime_ns
    assert experiment.train(small) == 0
    again = capsys.readouterr().out
    assert f"run '{BASE}' is finished" in again and again.count("test ") == 1 and "epoch 1/1" not in again
    assert (Run.of(config).output / "metrics.json").stat().st_mtime_ns == written
    assert re.findall(r"\ntest .*", first) == re.findall(r"\ntest .*", again)
    runs = find_finished([BASE, f"{BASE}-2"], config.output_dir, is_live=True)
    assert differences(runs) == ["init_lr 0.1", "init_lr 0.05"]
    figure = draw_side_by_side(runs, None)
    rows = [part.axes for part in figure.subfigs]
    assert [len(row) for row in rows] == [3, 3]
    assert [one.get_ylim() for one in rows[0]] == [other.get_ylim() for other in rows[1]]
    runs[0].history["f1_macro"], runs[1].history["loss"] = runs[0].history["accuracy"], [5.0]
    runs[0].history["val_f1_macro"] = runs[0].history["val_accuracy"]
    rows = [part.axes for part in draw_side_by_side(runs, None).subfigs]
    assert [len(row) for row in rows] == [4, 3]
    for place in (0, 1, -1):
        assert rows[0][place].get_ylim() == rows[1][place].get_ylim()


def test_the_content_of_the_data_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "environment", lambda config: {"backend": "torch"})
    run = Run("r", tmp_path, tmp_path)
    run.output.mkdir(exist_ok=True)
    environment.record_environment(run, None, "digest", is_resumed=False)
    assert json.loads((run.output / "environment.json").read_text()) == {"backend": "torch", "data": "digest"}


def test_a_commit_says_whether_its_files_were_changed_since(tmp_path):
    def git(*command):
        subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *command], check=True, capture_output=True
        )

    assert environment.git_commit(tmp_path) is None
    git("init")
    (tmp_path / "train.py").write_text("pass\n")
    (tmp_path / "RESULTS.md").write_text("none yet\n")
    git("add", "train.py", "RESULTS.md")
    git("commit", "-m", "a")
    commit = environment.git_commit(tmp_path)
    assert len(commit) == 40 and environment.short_commit(commit) == commit[:7]
    (tmp_path / "RESULTS.md").write_text("one claim is answered\n")
    assert environment.git_commit(tmp_path) == commit
    (tmp_path / "train.py").write_text("pass  # edited\n")
    assert environment.git_commit(tmp_path) == f"{commit} with local changes"
    assert environment.short_commit(f"{commit} with local changes") == f"{commit[:7]} with local changes"
    assert environment.short_commit(None) == "None"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(20, 200))
@example("鳥" * 60, 100)
def test_a_short_name_is_short_and_another_text_has_another_one(text, most):
    name = short_name(text, most)
    assert len(name.encode()) <= most and (name == text) == (len(text.encode()) <= most)
    longer = text + "x" * most
    assert short_name(longer, most) != short_name(longer + "y", most)


def test_a_run_whose_measuring_was_ended_is_measured_again(config, monkeypatch, capsys):
    """With metrics.json it counts as finished, so that is written last."""

    def interrupt(*arguments):
        raise KeyboardInterrupt

    small = replace(config, n=1, image_size=8, images_per_class=3, epochs=1, warmup_epochs=0.0)
    with monkeypatch.context() as patched:
        patched.setattr("lab.training.experiment.draw_confusion", interrupt)
        with pytest.raises(KeyboardInterrupt):
            experiment.train(small)
    run = Run.of(small)
    assert not (run.output / "metrics.json").exists()
    assert experiment.train(small) == 0
    assert (run.output / "metrics.json").exists() and (run.output / "confusion.png").exists()
