"""The precision that `auto` stands for: chosen by device and batch when a run begins, then kept."""

import json
import re
from dataclasses import asdict, replace
from math import inf
from types import SimpleNamespace

import pytest
from conftest import run_python

from foundation import devices
from foundation.settings import Config
from lab.reports.results import notes_on_precision
from lab.runs.naming import choose
from lab.runs.run import Run
from lab.training import precision
from lab.training.precision import FEWEST_PIXELS_ON_CPU, fewest_pixels, note_on_emulation, settle


@pytest.mark.parametrize(
    ("batch", "pixels", "fewest", "settled"),
    [
        (32, 8, FEWEST_PIXELS_ON_CPU, "float32"),  # the digits of a first training
        (128, 8, FEWEST_PIXELS_ON_CPU, "mixed_bfloat16"),
        (8, 32, FEWEST_PIXELS_ON_CPU, "mixed_bfloat16"),
        (2, 8, 0, "mixed_bfloat16"),  # a GPU
        (1024, 224, inf, "float32"),  # a device that emulates it
    ],
)
def test_auto_is_bfloat16_where_that_is_faster(batch, pixels, fewest, settled):
    assert settle(Config(batch_size=batch), (50_000, pixels, pixels, 3), fewest).precision == settled


@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16"])
def test_a_precision_that_is_asked_for_by_name_is_taken(name):
    config = Config(precision=name)
    assert all(settle(config, (100, 512, 512, 3), fewest) == config for fewest in (0, inf))


@pytest.mark.parametrize(
    ("has_gpu", "computes", "fewest"), [(True, True, 0), (False, True, FEWEST_PIXELS_ON_CPU), (True, False, inf)]
)
def test_a_device_says_what_it_computes_in(has_gpu, computes, fewest, monkeypatch):
    monkeypatch.setattr(devices, "computes_bfloat16", lambda: computes)
    monkeypatch.setattr(devices, "uses_cuda", lambda: has_gpu)
    monkeypatch.setattr(precision, "bfloat16_slowdown", lambda: 3.0)
    assert fewest_pixels() == fewest
    assert bool(note_on_emulation(Config(precision="mixed_bfloat16"))) == (not computes)
    assert note_on_emulation(Config(precision="float32")) == ""


def test_the_note_on_emulation_says_how_much_longer_a_step_took(monkeypatch):
    monkeypatch.setattr(devices, "computes_bfloat16", lambda: False)
    said = note_on_emulation(Config(precision="mixed_bfloat16"))
    assert float(re.search(r"took (\d+\.\d) times as long", said)[1]) > 0


def test_the_slowest_device_of_all_processes_decides(monkeypatch):
    monkeypatch.setattr(precision.replicas, "gather", lambda own: [0, own, inf])
    assert fewest_pixels() == inf


@pytest.fixture
def run_with(tmp_path):
    """Makes the record of a finished run with a precision."""

    def make(name):
        config = Config(precision=name, output_dir=str(tmp_path / "output"), weights_dir=str(tmp_path / "weights"))
        run = Run.of(config)
        with run.writing(config):
            run.write_json("metrics.json", {})
        return run, config

    return make


@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16"])
def test_auto_goes_on_in_the_precision_that_the_run_began_with(name, run_with):
    run, config = run_with(name)
    asked = replace(config, precision="auto")
    assert choose(asked, {"data": "d", "backend": "torch"}).run.name == run.name
    assert {settle(asked, (100, 32, 32, 3), fewest, run).precision for fewest in (0, inf)} == {name}
    other = {"float32": "mixed_bfloat16", "mixed_bfloat16": "float32"}[name]
    assert run.changes(replace(config, precision=other)) == {"precision": (name, other)}


def test_a_run_of_before_keeps_the_batch_size_that_it_began_with(run_with):
    run, config = run_with("float32")
    run.write_json("config.json", asdict(replace(config, batch_size=32)))
    assert run.changes(config) == {} and settle(config, (50, 32, 32, 3), 0, run).batch_size == 32
    run.write_json("config.json", asdict(replace(config, batch_size=64)))
    assert run.changes(config) == {"batch_size": (64, 0)}
    assert settle(config, (50, 32, 32, 3), 0).batch_size == 0  # chosen by rule, which the record keeps


def test_a_run_that_has_not_begun_is_settled_anew(run_with):
    run, config = run_with("float32")
    (run.output / "metrics.json").unlink()
    assert settle(replace(config, precision="auto"), (100, 32, 32, 3), 0, run).precision == "mixed_bfloat16"


TRAIN = """
import sys
from foundation import devices
devices.computes_bfloat16 = lambda: {}
import train
sys.exit(train.main())
"""


def test_a_run_that_began_in_bfloat16_goes_on_so_where_it_is_emulated(image_folder, tmp_path):
    def train(computes, *flags):
        shared = f"--dataset folder:{image_folder} --precision auto --batch-size 64 --model resnet6n2 --n 1 --schedule constant"
        process = run_python("-c", TRAIN.format(computes), *shared.split(), *flags, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        (folder,) = (tmp_path / "output").iterdir()
        return json.loads((folder / "config.json").read_text())["precision"], process.stdout

    began, _ = train(True, "--epochs", "1")
    went_on, told = train(False, "--epochs", "2")
    assert began == went_on == "mixed_bfloat16"
    assert "resuming" in told and "emulates bfloat16" in told


def test_a_report_says_in_which_precision_runs_were_computed(run_with):
    planned = [
        SimpleNamespace(
            arm="a",
            seed=seed,
            is_finished=lambda: True,
            run=SimpleNamespace(read_settings=lambda name=name: Config(precision=name)),
        )
        for seed, name in enumerate(["float32", "float32", "mixed_bfloat16"])
    ]
    assert list(notes_on_precision(planned[:2])) == ["precision: float32"]
    assert list(notes_on_precision(planned)) == [
        "precision differs: float32 in a with seed 0 and a with seed 1; mixed_bfloat16 in a with seed 2"
    ]


def test_the_processor_is_asked(monkeypatch):
    import torch

    for has in ({}, {"avx512_bf16": True}, {"amx_bf16": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: has)
        monkeypatch.setattr(devices, "uses_cuda", lambda: False)
        assert devices.computes_bfloat16() == bool(has)
