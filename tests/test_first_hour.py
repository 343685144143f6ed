"""What someone meets who has just installed the program: names of other programs, pages of help, lists instead of refusals."""

import os
import re
from dataclasses import asdict, fields, replace
from typing import get_type_hints

import numpy as np
import pytest
from conftest import ROOT, run_python

import explain
from callbacks.schedules import learning_rates, warmup_note
from datasets.catalog import check_name
from foundation.aliases import ALIASES, unknown_setting
from foundation.checks import check
from foundation.errors import UserError
from foundation.flags import read_config, read_setting
from foundation.grammar import agreeing, counted, listed
from foundation.quiet_import import hushed
from foundation.settings import SETTINGS, Config, by_heading
from lab import studies
from lab.exporting.card import without_paths
from lab.runs.run import Run
from lab.studies.study import Arm, Scale, Study


@pytest.mark.parametrize(("typed", "meant"), [("--lr", "--init-lr"), ("--bs", "--batch-size"), ("--opt=adam", "--optimizer")])
def test_a_flag_of_another_program_is_shown_as_ours(typed, meant):
    with pytest.raises(UserError, match=f"did you mean '{meant}'"):
        read_config([typed])


def test_the_studys_settings_are_known_as_flags_and_settings():
    with pytest.raises(UserError, match="unknown setting 'INIT_LR'; did you mean 'init_lr'"):
        read_setting("INIT_LR=0.1")
    assert "did you mean 'mixup_alpha'" in str(unknown_setting("USE_MIXUP", get_type_hints(Config)))
    assert "did you mean 'epochs'" in str(unknown_setting("epoch", ["epochs"]))
    assert "did you mean" not in str(unknown_setting("lr", ["epochs"]))  # only what may be typed there


def test_every_alias_leads_to_a_setting_and_hides_none():
    names = {setting.name for setting in fields(Config)}
    assert set(ALIASES.values()) <= names and not names & ALIASES.keys()


def test_help_has_every_setting_once_under_the_headings_of_the_file(capsys):
    with pytest.raises(SystemExit) as left:
        read_config(["--help"])
    assert left.value.code == 0
    _, *groups = re.split(r"(?m)^(\w+):$", capsys.readouterr().out)
    assert groups[0] == "options" and groups[2::2] == [heading for heading in by_heading() if heading]
    boxes = dict(zip(["", *groups[2::2]], groups[1::2], strict=True))
    for heading, settings in by_heading().items():
        flags = re.findall(r"(?m)^  (--[a-z0-9-]+)", boxes[heading])
        assert flags == ["--" + each.name.replace("_", "-") for each in settings]
        shown = "".join(boxes[heading].split())  # lines also end at hyphens
        assert all("".join(each.sentence.split()) in shown for each in settings)


def test_every_setting_has_a_sentence_of_its_own():
    sentences = [each.sentence for each in SETTINGS.values()]
    assert all(sentences) and len(set(sentences)) == len(sentences)


def test_one_epoch_works_and_its_shortened_warm_up_is_said():
    for schedule in ("cosine", "linear", "onecycle"):
        check(replace(Config(), epochs=1, schedule=schedule))
        rates = learning_rates(schedule, 0.1, 1, 10, 1.0)
        assert np.isfinite(rates).all() and 0.05 < rates.max() <= 0.1 and rates.argmax() in (2, 3)
        assert "warmup_epochs 1 is too long for a run of 1 epoch: the rate rises over 0.2" in warmup_note(schedule, 1.0, 1)
    assert np.array_equal(learning_rates("cosine", 0.1, 2, 10, 1.5), learning_rates("cosine", 0.1, 2, 10, 1.5))
    assert warmup_note("cosine", 1.0, 2) == "" and warmup_note("constant", 1.0, 1) == ""


@pytest.mark.parametrize("name", ["/data/birds", "./birds", "../birds", "~/birds", "C:\\birds", "birds"])
def test_a_path_for_a_data_set_is_told_its_prefix(name, in_folder):
    (in_folder / "birds").mkdir()
    with pytest.raises(UserError, match=re.escape(f"did you mean 'folder:{name}'")):
        check_name(name)
    (in_folder / "digits").mkdir()
    check_name("digits")


def test_a_script_that_is_told_no_run_lists_those_that_are_finished(in_folder, monkeypatch):
    monkeypatch.setattr("sys.argv", ["explain.py"])
    with pytest.raises(UserError, match=r"which run\? python explain.py RUN \(finished ones in output: none\)"):
        explain.main()
    for age, name in enumerate(("old", "new")):
        run = Run(name, "output", "weights")
        run.output.mkdir(parents=True)
        run.write_json("config.json", asdict(Config()))
        run.write_json("metrics.json", {"epochs": 20, "best_epoch": 3})
        os.utime(run.output / "metrics.json", (age, age))
    with pytest.raises(UserError, match="new, old"):
        explain.main()


def test_a_study_of_one_scale_needs_no_scale():
    arms = (Arm("a", {}),)
    assert Study("?", "", arms, "a", {"full": Scale({})}).usual_scale == "full"
    assert Study("?", "", arms, "a", {"smoke": Scale({}), "cpu": Scale({})}).usual_scale == "cpu"
    for name in studies.names():
        study = studies.find(name)
        assert study.usual_scale in study.scales


def test_a_model_card_holds_no_path_of_this_machine(tmp_path):
    settings = without_paths(
        asdict(Config()) | {"dataset": f"folder:{tmp_path}/birds/", "init_from": f"{tmp_path}/output/photos"}
    )
    assert (settings["dataset"], settings["init_from"]) == ("folder:birds", "photos")
    settings = without_paths(asdict(Config()) | {"dataset": "tfds:beans", "init_from": "keras-hub:resnet_50_imagenet"})
    assert (settings["dataset"], settings["init_from"]) == ("tfds:beans", "keras-hub:resnet_50_imagenet")


@pytest.mark.parametrize("backend", ["tensorflow"])
def test_a_training_says_nothing_that_is_not_its_own(backend, tmp_path):
    settings = ["--model", "resnet6n2", "--n", "1", "--image-size", "8", "--images-per-class", "4", "--epochs", "1"]
    process = run_python(ROOT / "train.py", *settings, cwd=tmp_path, backend=backend, is_new=True)
    assert process.returncode == 0 and process.stderr == ""


def test_while_tensorflow_is_imported_faults_are_still_told(capfd):
    with hushed():
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n")
        os.write(2, b"I0000 00:00:17.1 9242 port.cc:153] oneDNN custom operations are on.\n")
        os.write(2, b"E0000 00:00:17.2 9242 device.cc:1] no such device\n")
    assert capfd.readouterr().err == "E0000 00:00:17.2 9242 device.cc:1] no such device\n"


def test_a_number_and_its_noun_agree():
    assert [counted(n, "class", "classes") for n in (0, 1, 1200)] == ["0 classes", "1 class", "1,200 classes"]
    assert listed(["a"]) == "a" and listed(["a", "b", "c"]) == "a, b and c" and agreeing(1, "is", "are") == "is"
