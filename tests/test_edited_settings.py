"""What a user edits in config.py changes the next training, and nothing else: no study, benchmark, demo, page or finished run."""

import subprocess
from dataclasses import asdict

import pytest
from conftest import ROOT

from foundation import config_file
from foundation.checks import check
from foundation.flags import read_config, read_setting
from foundation.settings import Config
from lab.reports.demo import SETTINGS, planned_runs
from lab.runs.run import Run
from lab.studies import find, names

# Another allowed value of every setting but start_epoch, which does not go with resume "never".
OTHER = {
    "preset": "speedrun", "dataset": "shapes", "data_dir": "elsewhere", "image_size": 16, "colour": "grey", "start_size": 8,
    "growth_epochs": 1.0, "class_seed": 1, "val_fraction": 0.2, "group_by": "patient", "images_per_class": 9,
    "batch_size": 8, "augment": "none",
    "max_shift": 1, "padding": "reflect", "mirror": "alternating", "mixup_alpha": 0.1, "cutmix_alpha": 0.1, "model": "resnet20",
    "n": 1, "norm": "group", "norm_groups": 4, "sync_norm": True, "activation": "mish", "stem": "conv", "attention": "se",
    "shortcut": "zero", "stochastic_depth": 0.5, "init_from": "source-run", "freeze": "backbone", "backbone_rate": 0.5,
    "epochs": 3, "resume": "never", "seed": 5, "optimizer": "muon", "init_lr": 0.7, "find_lr": True, "check": True,
    "momentum": 0.5, "nesterov": True, "gradient_clip": 5.0, "accumulate": 2,
    "class_weights": "balanced", "monitor": "val_loss", "weight_decay": 0.3, "schedule": "linear",
    "warmup_epochs": 0.5, "label_smoothing": 0.0, "ema_decay": 0.0, "precision": "mixed_bfloat16", "execution": "eager",
    "deterministic": False, "early_stopping_patience": 2, "run": "mine", "output_dir": "there", "weights_dir": "heavy",
    "checkpoint_minutes": 1.0, "max_minutes": 1.0, "track_f1": True, "track_gradients": True, "keep_checkpoints": 5,
    "tensorboard": True, "film": True,
}  # fmt: skip


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Puts all of OTHER into config.py."""
    (tmp_path / "config.py").write_text(config_file.render(OTHER))
    monkeypatch.setenv("RESLAB_CONFIG", str(tmp_path / "config.py"))


def test_every_setting_is_edited_to_another_allowed_value():
    shipped = asdict(Config())
    assert OTHER.keys() == shipped.keys() - {"start_epoch"}
    assert [name for name, value in OTHER.items() if value == shipped[name]] == []
    check(Config(**OTHER))


def test_edits_reach_the_next_training(edited):
    found = asdict(read_config(["--preset", "none"]))
    assert found == OTHER | {"start_epoch": None, "preset": "none"}


def test_studies_and_the_demo_plan_the_same_runs(edited, tmp_path):
    expected = asdict(Config()) | {"init_lr": 0.1}  # studies name a rate
    for name in names():
        study = find(name)
        arms = study.arms_at("smoke")
        for planned in study.plan(name, "smoke", arms, 1, tmp_path, dict([read_setting("epochs=7")])):
            config = planned.config
            told = study.shared | study.scales["smoke"].settings | {"epochs": 7}
            told |= next((arm.settings for arm in arms if arm.name == planned.arm), study.source_run or {})
            kept = set(OTHER) - told.keys() - {"run", "output_dir", "weights_dir", "init_from", "epochs", "seed"}
            assert {n: getattr(config, n) for n in kept} == {n: expected[n] for n in kept}
    for planned in planned_runs("o", "w"):
        kept = set(OTHER) - SETTINGS.keys() - {"model", "run", "output_dir", "weights_dir"}
        assert {n: getattr(planned.config, n) for n in kept} == {n: getattr(Config(), n) for n in kept}


def test_what_an_old_run_did_not_record_is_what_was_shipped(edited, tmp_path):
    run = Run("r", tmp_path, tmp_path)
    run.output.mkdir()
    run.write_json("config.json", {"model": "plain20"})
    assert asdict(run.read_settings()) == asdict(Config()) | {"model": "plain20"}


def test_config_py_is_shipped_as_the_declarations_render_it():
    """As committed: who edits it without committing has edited nothing that this looks at."""
    found = subprocess.run(["git", "-C", ROOT, "show", "HEAD:config.py"], capture_output=True, text=True)
    if found.returncode:
        pytest.skip("no git here, which alone knows config.py as it was before edits")
    assert found.stdout == config_file.render({})
