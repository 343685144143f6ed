"""Dry runs of studies: what trainings would take, without one."""

import re

import pytest
from conftest import ROOT, run_python

from lab.studies import names


def study(folder, *arguments, **options):
    return run_python(ROOT / "study.py", *arguments, cwd=folder, **options)


@pytest.mark.parametrize("backend", ["torch", "jax", "tensorflow"])
def test_a_run_is_estimated_on_every_backend_and_with_every_kind_of_batch(backend, tmp_path):
    command = [ROOT / "study.py", "compare", "--arm", "norm=batch", "--arm", "norm=none", "--arms", "norm=batch", "--seeds", "1"]
    settings = ["model=one-block", "image_size=8", "class_weights=balanced", "batch_size=512"]
    process = run_python(*command, "--dry-run", "--set", *settings, backend=backend, cwd=tmp_path)
    assert process.returncode == 0 and re.search(r"1 run: about \d", process.stdout), process.stderr


def test_a_dry_run_estimates_and_trains_nothing(tmp_path):
    small = "--set", "n=1", "precision=float32", "batch_size=32"
    process = study(tmp_path, "residual_vs_plain", "--scale", "cpu", "--arms", "*20", "--dry-run", *small)
    assert process.returncode == 0, process.stderr
    assert "residual_vs_plain-cpu-resnet20-0" in process.stdout
    assert re.search(r"6 runs: about (\d+h\d\dm|\d+m\d\ds) on this machine", process.stdout), process.stdout
    assert not (tmp_path / "output").exists()


def test_a_dry_run_counts_a_folders_images_and_names_no_total_where_it_can_not(image_folder, tmp_path):
    command = ["residual_vs_plain", "--scale", "smoke", "--arms", "resnet20", "--seeds", "1", "--dry-run", "--set", "n=1"]
    command.append("--data")
    process = study(tmp_path, *command, f"folder:{image_folder}")
    assert process.returncode == 0 and re.search(r"1 run: about \d", process.stdout), process.stderr
    process = study(tmp_path, *command, "folder:elsewhere")
    assert process.returncode == 0 and "1 run: how long they take is not known" in process.stdout, process.stderr
    assert "about" not in process.stdout and not list(tmp_path.iterdir())


def test_every_study_can_be_estimated_as_its_source_did_it(tmp_path):
    process = run_python("-c", DRY, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    totals = re.findall(r"runs: about (\d+h\d\dm|\d+m\d\ds) on this machine", process.stdout)
    assert len(totals) == len(names()), process.stdout


# All in one process, with few steps of small batches and few blocks: the time estimated is not the point here.
DRY = """
import sys
import lab.benchmarks.estimate
import study
from lab.studies import find, names
lab.benchmarks.estimate.STEPS = lab.benchmarks.estimate.CALLS = 1
# The networks of the factorial study are those of bag_of_tricks.
ARMS = {"batch_size": ["--arms", "*, batch 8"], "bag_of_tricks_factorial": ["--arms", "none of them", "--set", "batch_size=2"]}
for name in names():
    few = ARMS.get(name, ["--set", "batch_size=2"])
    if not any("n" in arm.settings for arm in find(name).arms):
        few = [*few, "--set", "n=1"]
    sys.argv = ["study.py", name, "--scale", "full", "--dry-run", *few]
    study.main()
"""
