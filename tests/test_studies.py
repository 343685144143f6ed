"""Studies: declared as they should be, planned as ordinary runs, answered with the statistics they claim."""

import csv
import json
import re
from dataclasses import asdict, fields

import numpy as np
import pytest
from conftest import ROOT, run_python

import dispatcher
from datasets import catalog
from foundation.errors import UserError
from foundation.flags import read_config
from foundation.settings import Config
from lab.engines.fleet import flags
from lab.reports.statistics import Estimate
from lab.runs.same_settings import FREE
from lab.studies import find, names
from lab.studies.asked import compare
from lab.studies.protocol import PROTOCOL


@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name in names() for scale in find(name).scales])
def test_every_study_can_be_planned_at_every_scale(name, scale, tmp_path):
    study = find(name)
    arms = study.arms_at(scale)
    known = [arm.name for arm in study.arms]
    assert len(set(known)) == len(known) and study.reference in known and study.question.endswith("?")
    assert {arm.versus for arm in arms if arm.versus} <= set(known)
    runs = study.plan(name, scale, arms, None, tmp_path, {})
    assert len({planned.run.name for planned in runs}) == len(runs)
    assert len(runs) == (len(arms) + bool(study.source_run)) * study.scales[scale].seeds
    for planned in runs:
        assert read_config(flags(planned.config)) == planned.config
        catalog.check_name(planned.config.dataset)
        assert catalog.expected(planned.config.dataset)
        assert planned.config.model in dispatcher.MODELS
    by_seed = [planned.config for planned in runs if planned.arm == arms[0].name]
    assert [config.seed for config in by_seed] == list(range(study.scales[scale].seeds))


def test_tricks_come_one_after_the_other():
    study = find("bag_of_tricks")
    config = study.plan("b", "full", study.arms, 1, "x", {})[-1].config
    assert (config.model, config.schedule, config.label_smoothing) == ("se-mxresnet20", "cosine", 0.1)
    assert (config.mixup_alpha, config.padding, config.epochs) == (0.2, "reflect", 180)
    assert [arm.claimed for arm in study.arms] == pytest.approx([91.82, 92.07, 92.19, 92.47, 92.51, 92.97, 93.10])


def test_a_study_does_not_ask_what_config_py_was_edited_to():
    settable = {field.name for field in fields(Config)} - FREE - {"preset", "seed"}
    assert PROTOCOL.keys() == settable
    shipped = {name: getattr(Config(), name) for name in settable}
    assert shipped | {"init_lr": 0.1, "batch_size": 32} == PROTOCOL  # named by a study; else it trains as train.py does


def test_a_source_is_trained_as_the_study_says_whatever_the_user_sets():
    study = find("transfer")
    source, scratch = study.plan("t", "cpu", study.arms, 1, "x", {"images_per_class": 2, "n": 1})[:2]
    assert (source.config.images_per_class, source.config.n) == (0, 1)
    assert (scratch.config.images_per_class, scratch.config.n) == (2, 1)


def test_a_source_is_planned_only_for_arms_that_start_from_it():
    study = find("transfer")
    scratch, tuned, _ = study.arms
    assert [planned.arm for planned in study.plan("t", "smoke", [scratch], 2, "x", {})] == ["from scratch"] * 2
    source, run = study.plan("t", "smoke", [tuned], 1, "x", {})
    assert source.arm == "source" and run.needs is source and run.config.init_from == str(source.run.output)


def test_an_unknown_study_is_named_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'normalization'"):
        find("normalisation")


def study(folder, *arguments, **options):
    return run_python(ROOT / "study.py", *arguments, cwd=folder, **options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["residual_vs_plain", "--scale", "huge"], "unknown scale 'huge' (allowed: smoke, cpu, full)"),
        (["residual_vs_plain", "--arms", "resnet20", "vgg*"], "no arm matches 'vgg*'"),
        (["residual_vs_plain", "--epochs", "0"], "epochs is 0"),
        (["residual_vs_plain", "--set", "init_lr=fast"], "init_lr is 'fast', allowed: a number"),
        (["residual_vs_plain", "--data", "cifar11"], "did you mean 'cifar10'"),
        (["residual_vs_plain", "--jobs", "0"], "--jobs is 0, allowed: at least 1"),
        (["residual_vs_plain", "--gpus", "1"], "--gpus is not for engine 'local', allowed with: --engine ray or slurm"),
        (["residual_vs_plain", "--engine", "slurm", "--jobs", "2"], "allowed with: --engine local"),
        (["residual_vs_plain", "--engine", "ray", "--minutes", "2"], "allowed with: --engine slurm"),
        (["residual_vs_plain", "--engine", "slurm", "--address", "auto"], "allowed with: --engine ray"),
        (["residual_vs_plain", "--engine", "slurm", "--gpus", "-1"], "--gpus is -1, allowed: at least 0"),
        (["residual_vs_plain", "--set", "initlr=1"], "did you mean 'init_lr'"),
        (["residual_vs_plain", "--set", "help=true"], "unknown setting 'help'"),
        (["residual_vs_plain", "--set", "nesterov=perhaps"], "nesterov is 'perhaps', allowed: True or False"),
        (["normalization", "--set", "start_size=8"], "start_size and growth_epochs go together"),
        (
            ["batch_size", "--set", "batch_size=64"],
            "--set can't change batch_size, in which arms differ (batch, batch 128, batch, batch 8",
        ),
        (["normalization", "--set", "norm=group"], "--set can't change norm, in which arms differ"),
        (["depth", "--set", "seed=5"], "--set can't change seed"),
        (["compare"], "a comparison takes two arms or more"),
        (["compare", "--arm", "norm=batch", "--arm", "norm=batch"], "two arms are the same: norm=batch"),
        (["compare", "--arm", "norm=batch", "--arm", "nrom=group"], "did you mean 'norm'"),
        (["compare", "--arm", "norm=batch", "--arm", "seed=3"], "an arm can't set seed"),
        (["compare", "--arm", "norm=batch,norm=group", "--arm", "n=1"], "gives norm twice"),
        (
            ["compare", "--arm", "norm=batch", "--arm", "norm=group", "--set", "norm=layer"],
            "--set can't change norm, in which arms differ",
        ),
        (["depth", "--arm", "norm=batch"], "--arm is not for study 'depth', allowed with: python study.py compare"),
        (["dept", "--results", "R.md"], "did you mean 'depth'"),
        (["--results", "/"], "can't be written"),
        (["compare", "--arm", "norm=batch", "--arm", "norm=group", "--publish"], "--publish takes a study"),
        (["depth", "--margin", "0"], "--margin is 0, allowed: points above 0"),
        (["depth", "--set", "max_minutes=5"], "--set can't change max_minutes"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, tmp_path):
    process = study(tmp_path, *arguments)
    assert process.returncode == 2 and words in process.stderr and process.stderr.count("\n") == 1, process.stderr
    assert not list(tmp_path.iterdir())


def check_numbers(folder):
    """Results, comparison and sampling of images follow from the metrics of the four runs."""
    accuracies = {}
    for path in (folder / "runs").glob("*/metrics.json"):
        accuracies[path.parent.name] = 100 * json.loads(path.read_text())["test"]["accuracy"]
    assert len(accuracies) == 4
    records = {record["arm"]: record for record in json.loads((folder / "results.json").read_text())}
    for arm in ("plain20", "resnet20"):
        own = [accuracies[f"residual_vs_plain-smoke-{arm}-{seed}"] for seed in (0, 1)]
        assert records[arm]["test_accuracy_percent"] == pytest.approx(np.mean(own))
        assert records[arm]["interval"] == pytest.approx(Estimate.of(own, within=(0, 100)).interval)
    gap = records["resnet20"]["test_accuracy_percent"] - records["plain20"]["test_accuracy_percent"]
    assert records["resnet20"]["difference"] == pytest.approx(gap) and records["resnet20"]["versus"] == "plain20"
    rows = list(csv.DictReader((folder / "results.csv").open()))
    assert [row["arm"] for row in rows] == ["resnet20", "plain20"] or [row["arm"] for row in rows] == ["plain20", "resnet20"]
    (comparison,) = json.loads((folder / "comparisons.json").read_text())
    assert comparison["verdict"] == records["resnet20"]["verdict"] == "pilot" and comparison["family"] == 1
    (over_images,) = json.loads((folder / "image_sampling.json").read_text())
    for seed in (0, 1):
        found, images = 100 * (over_images["only_first"][str(seed)] - over_images["only_other"][str(seed)]), over_images["images"]
        both = [accuracies[f"residual_vs_plain-smoke-{arm}-{seed}"] for arm in ("resnet20", "plain20")]
        assert found / images == pytest.approx(both[0] - both[1])


def check_report(folder):
    """The report has its parts and claims nothing of two seeds; its page needs no other file."""
    text, page = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    assert "## Over images" in text and "McNemar" in page
    assert "a pilot of two seeds" in text and "Two seeds are a pilot" in page
    assert not re.search("better|worse", text + page.partition("<h2>")[2].partition("<img")[0])
    for part in ("Does the skip connection help", "python ", "--scale smoke", "digits", "resnet20", "Micro F1 equals accuracy"):
        assert part in text
    assert not re.search(r'(src|href)="(?!data:)', page) and page.count("data:image/png;base64,") in (3, 4)
    pictures = {path.name for path in folder.glob("*.svg")} - {"costs.svg"}  # there if the seconds of training differ
    assert pictures == {"curves.svg", "differences.svg", "gradients.svg"}


def check_published(folder, process):
    """Records of the runs stand in `results/`, and RESULTS.md is made of them."""
    assert "4 records in results/residual_vs_plain/smoke" in process.stdout
    assert len(list((folder / "results/residual_vs_plain/smoke").iterdir())) == 4
    process = study(folder, "--results", "RESULTS.md", draws=True)
    assert process.returncode == 0 and process.stdout == "RESULTS.md: residual_vs_plain, smoke\n", process.stderr
    collected = (folder / "RESULTS.md").read_text()
    assert "There is 1 comparison in 1 study" in collected and "0 are called different" in collected
    assert "\n## residual_vs_plain, smoke\n\n**Does the skip connection help" in collected and "\n### Answer" in collected
    assert " --scale smoke --epochs 2 --seeds 2 --set image_size=8 n=1 --publish" in collected
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", collected)
    assert len(pictures) in (3, 4) and all((folder / picture).stat().st_size > 1000 for picture in pictures)


def test_a_study_runs_to_its_report_and_is_not_run_again(tmp_path):
    command = ["residual_vs_plain", "--scale", "smoke", "--epochs", "2", "--jobs", "2", "--publish"]
    command += ["--set", "n=1", "image_size=8"]
    process = study(tmp_path, *command, draws=True)
    assert process.returncode == 0, process.stderr
    folder = tmp_path / "output/studies/residual_vs_plain"
    check_numbers(folder)
    check_report(folder)
    check_published(tmp_path, process)
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").glob("*/metrics.json")}
    again = study(tmp_path, *command)
    assert again.returncode == 0 and "resnet20" in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "runs").glob("*/metrics.json")}


def test_the_study_of_norms_runs_to_its_report(tmp_path):
    command = ["normalization", "--scale", "smoke", "--seeds", "1", "--epochs", "2", "--jobs", "2"]
    process = study(tmp_path, *command, "--report")
    assert process.returncode == 0 and not list(tmp_path.rglob("metrics.json")), process.stderr
    folder = tmp_path / "output/studies/normalization"
    assert "--seeds 1 --epochs 2 --jobs 2\n" in (folder / "report.md").read_text()  # the command, without --report
    process = study(tmp_path, *command, "--set", "model=one-block", "image_size=8")
    assert process.returncode == 0, process.stderr
    records = {record["arm"]: record for record in json.loads((folder / "results.json").read_text())}
    assert len(records) == 7
    for arm, record in records.items():
        assert len(record["seeds"]) == 1 and not record["failures"] and record["claimed"] is None
        assert (record["versus"], record["difference"] is None) == ((None, True) if arm == "batch" else ("batch", False))
        for split in ("train", "val", "test"):
            assert 0 < record[f"{split}_f1_macro"] < 1
            assert record[f"{split}_f1_micro"] == pytest.approx(record[f"{split}_accuracy"])
    history = json.loads(next(folder.glob("runs/*-group-0/history.json")).read_text())
    assert len(history["f1_macro"]) == len(history["val_f1_macro"]) == 2
    report = (folder / "report.md").read_text()
    assert "batch-instance: norm batch-instance" in report and "| 0." in report.partition("Every split")[2]


def test_a_question_without_a_file_runs_to_its_report(tmp_path):
    command = ["compare", "--arm", "norm=batch", "--arm", "norm=group,norm_groups=4", "--seeds", "1", "--epochs", "1"]
    process = study(tmp_path, *command, "--set", "n=1", "model=resnet6n2", "image_size=16")
    assert process.returncode == 0, process.stderr
    folder = tmp_path / "output/studies/compare-norm-norm_groups"
    report = (folder / "report.md").read_text()
    assert "How do norm=batch and norm=group, norm_groups=4 compare?" in report and "digits at 16 pixels" in report
    assert sorted(path.name for path in (folder / "runs").iterdir() if path.is_dir()) == [
        "compare-norm-norm_groups-asked-norm-batch-0",
        "compare-norm-norm_groups-asked-norm-group-norm-groups-4-0",
    ]
    (comparison,) = json.loads((folder / "comparisons.json").read_text())
    assert (comparison["name"], comparison["versus"]) == ("norm=group, norm_groups=4", "norm=batch")


def test_arms_of_long_names_have_runs_of_their_own(tmp_path):
    long = "norm=group,norm_groups=4,schedule=cosine,label_smoothing=0.1,mixup_alpha=0.2,padding=reflect,activation=mish"
    name, asked = compare([long, long.replace("mish", "relu")])
    runs = asked.plan(name, asked.usual_scale, asked.arms, 1, tmp_path, {})
    assert len({planned.run.name for planned in runs}) == 2 and all(len(planned.run.name) <= 100 for planned in runs)


def test_a_failed_arm_is_shown_as_failed_and_the_others_go_on(tmp_path):
    command = ["normalization", "--scale", "smoke", "--arms", "group", "inst*", "--seeds", "1", "--epochs", "2", "--jobs", "2"]
    process = run_python("-c", SPOILT, *command, cwd=tmp_path)
    assert process.returncode == 1, process.stderr
    folder = tmp_path / "output/studies/normalization"
    records = {record["arm"]: record for record in json.loads((folder / "results.json").read_text())}
    assert records.keys() == {"group", "instance"}
    assert records["group"]["failures"] and records["group"]["test_accuracy_percent"] is None
    assert records["instance"]["test_accuracy_percent"] is not None
    report = (folder / "report.md").read_text()
    assert "Failed runs" in report and "groups" in report and "A single seed: no intervals, and no conclusions." in report


# Seven groups do not divide the channels of one arm.
SPOILT = """
import sys
from dataclasses import replace
import lab.studies.normalization as module
module.STUDY = replace(module.STUDY, shared=module.STUDY.shared | {"norm_groups": 7, "n": 1})
import study
from foundation.scripts import run_script
sys.argv[0] = "study.py"
run_script(study.main)
"""


def test_settings_of_several_set_flags_go_together_and_with_the_studys_own(tmp_path):
    command = ["normalization", "--scale", "smoke", "--arms", "group", "--engine", "slurm"]
    process = study(
        tmp_path, *command, "--set", "monitor=val_f1_macro", "nesterov=true", "--set", "start_size=8", "growth_epochs=2"
    )
    assert process.returncode == 0, process.stderr
    (listed,) = tmp_path.rglob("slurm-runs-*.txt")
    for flag in ("--monitor val_f1_macro", "--nesterov", "--start-size 8", "--growth-epochs 2.0", "--track-f1"):
        assert f" {flag} " in listed.read_text()


@pytest.mark.parametrize("mode", [["--dry-run"], ["--engine", "slurm"]])
def test_a_run_of_other_settings_is_named_before_anything_is_shown_or_written(mode, tmp_path):
    command = ["residual_vs_plain", "--scale", "smoke", "--seeds", "1"]
    question, folder = find("residual_vs_plain"), tmp_path / "output/studies/residual_vs_plain"
    planned = question.plan("residual_vs_plain", "smoke", question.arms_at("smoke")[:1], 1, folder, {})[0]
    planned.run.output.mkdir(parents=True)
    planned.run.write_json("config.json", asdict(planned.config))
    planned.run.write_json("metrics.json", {"epochs": planned.config.epochs, "best_epoch": 1})
    process = study(tmp_path, *command, "--set", "init_lr=0.01", *mode)
    assert process.returncode == 2 and "exists with other settings (init_lr" in process.stderr, process.stdout
    assert "finished" not in process.stdout and not list(tmp_path.rglob("slurm*"))


def test_defaults_of_config_are_all_flags():
    assert read_config(flags(Config())) == Config()
