"""Studies: declared as they should be, planned as ordinary runs, answered with the statistics they claim."""

import csv
import json
import re
from dataclasses import asdict, fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, run_python
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import dispatcher
from datasets import catalog
from foundation.errors import UserError
from foundation.flags import read_config
from foundation.settings import Config
from lab.engines.fleet import flags
from lab.reports.comparisons import Comparison, adjusted
from lab.reports.live import Live
from lab.reports.results import Result, questions_of
from lab.reports.statistics import Estimate, paired_difference, paired_values
from lab.reports.study_report import computed_on
from lab.runs import environment
from lab.runs.run import Run
from lab.runs.same_settings import FREE
from lab.studies import find, names
from lab.studies.asked import compare
from lab.studies.protocol import PROTOCOL
from lab.studies.study import Session

values = st.lists(st.floats(0, 100), min_size=2, max_size=8)


@given(values)
def test_an_interval_is_that_of_the_t_test(numbers):
    estimate = Estimate.of(numbers)
    assert estimate.mean == pytest.approx(np.mean(numbers)) and estimate.count == len(numbers)
    if np.std(numbers) > 1e-6:
        wanted = stats.ttest_1samp(numbers, 0).confidence_interval(0.95)
        assert estimate.interval == pytest.approx((wanted.low, wanted.high), rel=1e-6, abs=1e-9)


@given(values, values)
def test_a_paired_difference_is_that_of_the_paired_t_test(ours, theirs):
    count = min(len(ours), len(theirs))
    difference = paired_difference(dict(enumerate(ours)), dict(enumerate(theirs)))
    assert difference.count == count
    gaps = np.subtract(ours[:count], theirs[:count])
    if np.std(gaps) > 1e-6:
        wanted = stats.ttest_rel(ours[:count], theirs[:count]).confidence_interval(0.95)
        assert difference.interval == pytest.approx((wanted.low, wanted.high), rel=1e-6, abs=1e-9)


def test_differences_that_are_all_the_same_claim_no_certainty():
    same = result("a", [80.0 + 5 / 9, 70.0 + 5 / 9], [80.0, 70.0])
    assert same.difference.interval is None and same.difference.excludes_zero is None
    assert same.comparison.sentence() == (
        "a against b: +0.56 points (a pilot of two seeds, too few for a verdict; the same for each of 2 seeds, hence without an"
        " interval)."
    )


@given(values, st.floats(0, 100))
def test_gains_that_are_equal_but_for_rounding_claim_no_certainty(numbers, gain):
    residue = {seed: (number + gain - number) - gain for seed, number in enumerate(numbers)}
    assert Estimate.of(list(residue.values())).interval is None


def test_means_of_other_seeds_are_not_compared_and_a_report_says_which_there_are(tmp_path):
    study = find("bag_of_tricks")
    arms = study.arms_at("cpu")[:3]
    runs = study.plan("bag_of_tricks", "cpu", arms, 3, tmp_path, {})
    for planned in runs:
        pretend(planned, 0.8 + 0.01 * planned.seed - 0.1 * (planned.seed == 2))
    third = runs.pop(next(i for i, planned in enumerate(runs) if (planned.arm, planned.seed) == ("+ Mish", 2)))
    never = replace(third, config=replace(third.config, run="never"))
    never.begin()
    never.fail("error: no memory")
    runs.append(never)
    Live(Session(study, "bag_of_tricks", "cpu", runs, "python study.py bag_of_tricks"), tmp_path).finish()
    report = (tmp_path / "report.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in report.splitlines() if line.startswith("|")]
    cells = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:5]}
    assert [row["seeds"] for row in cells.values()] == ["3", "2", "3"]
    assert cells["+ Mish"]["difference"] == "+0.00 (each seed)" == cells["+ SE"]["difference"]
    assert cells["+ SE"]["from xresnet20"] == "+0.00 (each seed)" and cells["+ Mish"]["from xresnet20"] == "-"
    assert "Not every arm has every seed yet" in report and "+ Mish, seed 2: error: no memory" in report
    assert "claimed: the source's test accuracy (%), on cifar10 after 180 epochs" in report
    assert "train 90 images, val 90 images, test 90 images" in report


def pretend(planned, accuracy):
    """Leaves what a finished run leaves."""
    split = {"loss": 1.0, "accuracy": accuracy, "f1_micro": accuracy, "f1_macro": accuracy, "images": 90}
    planned.run.output.mkdir(parents=True)
    planned.run.write_json("config.json", asdict(planned.config))
    numbers = {"epochs": planned.config.epochs, "best_epoch": 2, "params": 100_000, "macs": 10_000_000}
    numbers |= {"seconds": 60.0, "images_per_second": 90.0}
    planned.run.write_json("metrics.json", numbers | dict.fromkeys(("train", "val", "test"), split))
    machine = {"device": "a CPU", "threads": 1, "cores": 2, "backend": "torch", "versions": {}, "git_commit": "0" * 40}
    planned.run.write_json("environment.json", machine)


def test_a_run_that_goes_on_elsewhere_names_both_machines(tmp_path, monkeypatch):
    run = Run("r", tmp_path / "output", tmp_path / "weights")
    run.output.mkdir(parents=True)
    machine = {"device": "a CPU", "threads": 1, "cores": 2, "backend": "torch", "versions": {}, "git_commit": "0" * 40}
    for device, is_resumed in (("a CPU", False), ("a CPU", True), ("a GPU", True), ("a GPU", True)):
        monkeypatch.setattr(environment, "environment", lambda config, device=device: machine | {"device": device})
        environment.record_environment(run, None, "of this content", is_resumed)
    machine["data"] = "of this content"
    there = machine | {"device": "a GPU"}
    assert run.read_json("environment.json") == machine | {"continued": [there]}
    planned = SimpleNamespace(run=run, is_finished=lambda: True)
    shown = "a CPU, 1 of 2 threads a run, torch , commit 0000000; and on: a GPU, 1 of 2 threads a run, torch , commit 0000000"
    assert computed_on([planned]) == shown
    environment.record_environment(run, None, "of this content", is_resumed=False)
    assert run.read_json("environment.json") == there


def test_a_single_seed_has_no_interval_and_shows_nothing():
    estimate = paired_difference({0: 91.0, 1: 92.0}, {1: 90.0, 2: 89.0})
    assert (estimate.mean, estimate.count, estimate.interval, estimate.excludes_zero) == (2.0, 1, None, None)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    assert "a against b: +2.00 points (a single seed, which" in result("a", [90.0], [88.0]).comparison.sentence()


def result(name, ours, theirs):
    accuracies = dict(enumerate(ours))
    values = tuple(paired_values(accuracies, dict(enumerate(theirs))).values())
    return Result(name, None, "b", accuracies, {}, {}, adjusted([Comparison(name, "b", values)])[0])


def test_a_difference_within_noise_is_called_so():
    within = result("a", [90.0, 92.0, 88.0], [89.0, 90.0, 91.0])
    assert "not distinguishable from b" in within.comparison.sentence()
    assert "a is 2.00 points better than b" in result("a", [90.1, 92.0, 88.0], [88.0, 90.0, 86.1]).comparison.sentence()
    assert "worse" in result("a", [80.0, 80.1, 80.2], [88.0, 88.2, 88.1]).comparison.sentence()


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


def test_a_contrast_is_a_difference_of_paired_differences():
    study = find("residual_vs_plain")
    accuracies = {"plain20": {0: 80.0, 1: 81.0}, "resnet20": {0: 82.0, 1: 82.0}}
    accuracies |= {"plain56": {0: 40.0, 1: 50.0}, "resnet56": {0: 80.0, 1: 84.0}}
    results = [Result(name, None, None, values, {}, {}) for name, values in accuracies.items()]
    (asked,) = questions_of(study, results)
    (contrast,) = adjusted([Comparison(asked.name, asked.other, tuple(asked.values.values()))])
    gains = np.array([40.0 - 2.0, 34.0 - 1.0])
    low, high = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    assert contrast.values == pytest.approx(gains) and contrast.difference.interval == pytest.approx((low, high))
    assert "20: +35.50 points (a pilot of two seeds" in contrast.sentence()
    assert questions_of(study, results[:3]) == []


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
        (["residual_vs_plain", "--arms", "vgg*"], "no arm matches"),
        (["residual_vs_plain", "--epochs", "0"], "epochs is 0"),
        (["residual_vs_plain", "--set", "init_lr=fast"], "init_lr is 'fast', allowed: float"),
        (["residual_vs_plain", "--data", "cifar11"], "did you mean 'cifar10'"),
        (["residual_vs_plain", "--jobs", "0"], "--jobs is 0, allowed: at least 1"),
        (["residual_vs_plain", "--gpus", "1"], "--gpus is not for engine 'local', allowed with: --engine ray or slurm"),
        (["residual_vs_plain", "--engine", "slurm", "--jobs", "2"], "allowed with: --engine local"),
        (["residual_vs_plain", "--engine", "ray", "--minutes", "2"], "allowed with: --engine slurm"),
        (["residual_vs_plain", "--engine", "slurm", "--address", "auto"], "allowed with: --engine ray"),
        (["residual_vs_plain", "--engine", "slurm", "--gpus", "-1"], "--gpus is -1, allowed: at least 0"),
        (["residual_vs_plain", "--set", "initlr=1"], "did you mean 'init_lr'"),
        (["residual_vs_plain", "--set", "help=true"], "unknown setting 'help'"),
        (["residual_vs_plain", "--set", "nesterov=perhaps"], "nesterov is 'perhaps', allowed: bool"),
        (["normalization", "--set", "start_size=8"], "start_size and growth_epochs go together"),
        (["batch_size", "--set", "batch_size=64"], "batch_size is what the arms differ in (batch, batch 128, batch, batch 8"),
        (["normalization", "--set", "norm=group"], "norm is what the arms differ in"),
        (["depth", "--set", "seed=5"], "seed is not a study's to be given"),
        (["compare"], "a comparison takes two arms or more"),
        (["compare", "--arm", "norm=batch", "--arm", "norm=batch"], "two arms are the same: norm=batch"),
        (["compare", "--arm", "norm=batch", "--arm", "nrom=group"], "did you mean 'norm'"),
        (["compare", "--arm", "norm=batch", "--arm", "seed=3"], "seed is not an arm's to be given"),
        (["compare", "--arm", "norm=batch,norm=group", "--arm", "n=1"], "gives norm twice"),
        (["compare", "--arm", "norm=batch", "--arm", "norm=group", "--set", "norm=layer"], "norm is what the arms differ in"),
        (["depth", "--arm", "norm=batch"], "--arm is not for study 'depth', allowed with: python study.py compare"),
        (["dept", "--results", "R.md"], "did you mean 'depth'"),
        (["--results", "/"], "can't be written"),
        (["compare", "--arm", "norm=batch", "--arm", "norm=group", "--publish"], "--publish takes a study"),
        (["depth", "--margin", "0"], "--margin is 0, allowed: points above 0"),
        (["depth", "--set", "max_minutes=5"], "max_minutes is not a study's to be given"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, tmp_path):
    process = study(tmp_path, *arguments)
    assert process.returncode == 2 and words in process.stderr and process.stderr.count("\n") == 1, process.stderr
    assert not list(tmp_path.iterdir())


def test_a_study_runs_to_its_report_and_is_not_run_again(tmp_path):
    command = ["residual_vs_plain", "--scale", "smoke", "--epochs", "2", "--jobs", "2", "--publish"]
    command += ["--set", "n=1", "image_size=8"]
    process = study(tmp_path, *command, draws=True)
    assert process.returncode == 0, process.stderr
    folder = tmp_path / "output/studies/residual_vs_plain"
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
    text, page = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    assert "## Over images" in text and "McNemar" in page
    assert "a pilot of two seeds" in text and "Two seeds are a pilot" in page
    assert not re.search("better|worse", text + page.partition("<h2>")[2].partition("<img")[0])
    for part in ("Does the skip connection help", "python ", "--scale smoke", "digits", "resnet20", "Micro F1 equals accuracy"):
        assert part in text
    assert not re.search(r'(src|href)="(?!data:)', page) and page.count("data:image/png;base64,") in (3, 4)
    pictures = {path.name for path in folder.glob("*.svg")} - {"costs.svg"}  # there if the seconds of training differ
    assert pictures == {"curves.svg", "differences.svg", "gradients.svg"}

    assert "4 records in results/residual_vs_plain/smoke" in process.stdout
    assert len(list((tmp_path / "results/residual_vs_plain/smoke").iterdir())) == 4
    process = study(tmp_path, "--results", "RESULTS.md", draws=True)
    assert process.returncode == 0 and process.stdout == "RESULTS.md: residual_vs_plain, smoke\n", process.stderr
    collected = (tmp_path / "RESULTS.md").read_text()
    assert "All of it holds 1 comparison in 1 study" in collected and "0 are called different" in collected
    assert "\n## residual_vs_plain, smoke\n\n**Does the skip connection help" in collected and "\n### Answer" in collected
    assert " --scale smoke --epochs 2 --seeds 2 --set image_size=8 n=1 --publish" in collected
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", collected)
    assert len(pictures) in (3, 4) and all((tmp_path / picture).stat().st_size > 1000 for picture in pictures)

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
    command = ["normalization", "--scale", "smoke", "--arms", "[gi]*", "--seeds", "1", "--epochs", "2", "--jobs", "2"]
    process = run_python("-c", SPOILT, *command, cwd=tmp_path)
    assert process.returncode == 1, process.stderr
    folder = tmp_path / "output/studies/normalization"
    records = {record["arm"]: record for record in json.loads((folder / "results.json").read_text())}
    assert records.keys() == {"group", "instance"}
    assert records["group"]["failures"] and records["group"]["test_accuracy_percent"] is None
    assert records["instance"]["test_accuracy_percent"] is not None
    report = (folder / "report.md").read_text()
    assert "Failed runs" in report and "groups" in report and "A single seed: no intervals, and no conclusions." in report


def test_a_report_tells_what_each_network_takes_for_an_image(tmp_path, capsys, monkeypatch):
    times = {"mini-basic-post": 1.25, "mini-basic-pre": 2.5}
    monkeypatch.setattr("lab.benchmarks.inference.milliseconds_of", lambda configs: [times[config.model] for config in configs])
    study = find("block_design")
    runs = study.plan("block_design", "smoke", study.arms[:2], 1, tmp_path, {"images_per_class": 40})
    for planned in runs:
        pretend(planned, 0.5)
    session = Session(study, "block_design", "smoke", runs, "python study.py block_design")
    Live(session, tmp_path).finish()
    report = (tmp_path / "report.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in report.splitlines() if line.startswith("|")]
    column = rows[0].index("ms an image")
    assert [row[column] for row in rows[2:4]] == ["1.25", "2.50"]
    assert "train keeps at most 40 images of each class" in report and "mini-basic-pre" in capsys.readouterr().out


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


def test_defaults_of_config_are_all_flags():
    assert read_config(flags(Config())) == Config()
