"""Published results: what a record keeps, that RESULTS.md follows from the records alone, and verdicts of the scoreboard."""

import json
import platform
import re
import shutil
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest

from foundation.errors import UserError
from lab.manual.results import ROOT as PROJECT
from lab.manual.results import published_results, scoreboard_table, write_scoreboard
from lab.reports.collection import results_text, write_results
from lab.reports.sequential import LookPlan
from lab.runs.predictions import Predictions, write_predictions
from lab.runs.record import record_of, rounded, unpack
from lab.runs.run import Run
from lab.studies import find
from lab.studies.by_looks import check_plan, write_plan
from lab.studies.claims import CLAIMS
from lab.studies.published import MEASURES, Publisher, sessions
from lab.training.evaluation import measure

HOST = "a-secret-host"
ARMS = ("C = 1, width 16", "C = 16, width 2", "C = 16, all tricks")


def pretend(planned, gain=0.0, data="the images"):
    """Leaves what a finished run of ten classes leaves; a share `gain` more of its test images is right."""
    run, config = planned.run, planned.config
    random, luck = np.random.default_rng(config.seed), np.random.default_rng([config.seed, int(1000 * abs(gain))])
    labels, hardness = np.arange(400) % 10, random.random(400) + 0.02 * luck.random(400)
    answers = np.where(hardness < 0.7 + gain, labels, (labels + 1) % 10)
    predictions = Predictions(np.eye(10, dtype="float32")[answers], labels, tuple(f"test/{i}.png" for i in range(400)))
    measured = measure(predictions.logits, labels)
    run.output.mkdir(parents=True)
    numbers = {"epochs": config.epochs, "best_epoch": 2, "params": 9, "macs": 9, "seconds": 60.0, "images_per_second": 9.0}
    curves = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    where = {"device": "a CPU", "threads": 1, "cores": 2, "backend": "torch", "versions": {"torch": "2"}, "git_commit": "0" * 40}
    files = {
        "config": asdict(config) | {"precision": "float32"},
        "metrics": numbers | dict.fromkeys(("train", "val", "test"), measured),
        "history": {"epoch": list(range(1, config.epochs + 1))} | {name: [1 / 3] * config.epochs for name in curves},
        "environment": where | {"data": f"{data} of seed {config.seed}", "host": HOST},
        "classes": [{"label": i, "name": f"class {i}", "id": str(i)} for i in range(10)],
        "overlap": {"shared": {"test in train": 0}, "test_without_shared": None},
    }
    if config.track_gradients:
        norms = [[1 / 3] * 2] * config.epochs
        files["flow"] = {"layers": ["a/kernel", "b/kernel"], "epoch": files["history"]["epoch"]}
        files["flow"] |= dict.fromkeys(("gradient_norm", "weight_norm", "update_ratio"), norms)
    for name, content in files.items():
        run.write_json(f"{name}.json", content)
    write_predictions(run, {"val": predictions, "test": predictions})


def plan(folder, seeds, overrides=None, study="resnext", arms=ARMS):
    chosen = [arm for arm in find(study).arms if arm.name in arms]
    overrides = {"dataset": f"folder:{folder}/secret/pictures"} | (overrides or {})
    return find(study).plan(study, "cpu", chosen, seeds, folder / "output", overrides)


def publish(folder, runs, study="resnext"):
    publisher = Publisher(study, "cpu", runs, folder / "results")
    return publisher, publisher.publish()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder whose `results` hold three arms of three seeds: the second is no better, the third 20 points."""
    folder = tmp_path_factory.mktemp("published")
    runs = plan(folder, 3)
    for planned in runs:
        pretend(planned, {ARMS[1]: 0.001 * planned.seed, ARMS[2]: 0.2 + 0.01 * planned.seed}.get(planned.arm, 0.0))
    publish(folder, runs)
    return folder


def test_results_md_and_the_front_page_follow_from_the_records_of_this_repository():
    """Written anew by `python study.py --results RESULTS.md`."""
    results, front_page = ((PROJECT / name).read_text(encoding="utf-8") for name in ("RESULTS.md", "README.md"))
    with published_results() as (answers, found):
        assert results_text(answers, found) == results
        assert f"<!-- generated: scoreboard -->\n{scoreboard_table(found)}\n<!-- end -->" in front_page
        pictures = {answer.file_of(name) for answer in answers for name in answer.pictures()}
    assert pictures <= {path.name for path in (PROJECT / "docs/results").iterdir()}


def test_a_record_is_small_and_tells_no_path_and_no_host(published):
    paths = sorted((published / "results").rglob("*.json"))
    assert len(paths) == 9 and {path.parent.relative_to(published).as_posix() for path in paths} == {"results/resnext/cpu"}
    for path in paths:
        text = path.read_text()
        assert path.stat().st_size < 8_000
        for secret in ("/", HOST, platform.node(), "secret"):
            assert secret not in re.sub(r'"bits": "[^"]*"', "", text), secret
        record = json.loads(text)
        assert record["config"]["dataset"] == "folder:pictures" and record["config"]["precision"] == "float32"


def test_a_record_is_read_as_the_run_was(published, tmp_path):
    planned = plan(published, 1)[1]
    record = record_of(planned.run)
    run = unpack(json.loads(json.dumps(record)), "again", tmp_path)
    assert run.is_finished() and record_of(run) == record
    assert rounded(0.123456789) == 0.1234568 and rounded([1e-9 / 3, 12, True, "a"], 2) == [3.3e-10, 12, True, "a"]


def test_results_are_rebuilt_from_records_alone_and_equal(published, tmp_path):
    shutil.copytree(published / "results", tmp_path / "results")
    texts = []
    for folder in (published, tmp_path):
        with published_results(folder / "results") as (answers, found):
            texts.append(results_text(answers, found))
    assert texts[0] == texts[1]
    with published_results(tmp_path / "results", "resnext") as (answers, found):
        write_results(answers, found, tmp_path / "R.md")
    text = (tmp_path / "R.md").read_text()
    assert text == texts[0] and "\n## resnext, cpu\n\n**Do grouped convolutions help" in text and "\n### Answer" in text
    assert "9 runs, 9m00s of training in all." in text and "\n### Over images" in text
    command = "python study.py resnext --scale cpu --data folder:pictures --seeds 3 --publish"
    assert f"\n    {command}\n" in text
    pictures = re.findall(r"!\[\w+\]\((.+?)\)", text)
    assert len(pictures) == 2 and all((tmp_path / picture).stat().st_size > 1000 for picture in pictures)


def test_a_front_page_has_the_answered_claims_and_a_page_without_a_place_stays(published, tmp_path):
    page = tmp_path / "README.md"
    with published_results(published / "results") as (_, found):
        page.write_text("a\n\n<!-- generated: scoreboard -->\nold\n<!-- end -->\n\nb\n")
        write_scoreboard(found, page)
        (tmp_path / "other.md").write_text("no place")
        write_scoreboard(found, tmp_path / "other.md")
        write_scoreboard(found, tmp_path / "missing.md")
    assert "old" not in page.read_text() and f"{len(CLAIMS)} claims are still open." in page.read_text()
    assert (tmp_path / "other.md").read_text() == "no place" and not (tmp_path / "missing.md").exists()


def test_runs_are_published_once_each_as_they_finish(tmp_path):
    runs = plan(tmp_path, 2)
    pretend(runs[0])
    publisher, written = publish(tmp_path, runs)
    assert len(written) == 1 and publisher.publish() == []
    pretend(runs[1])
    assert [path.stem for path in publisher.publish()] == [runs[1].run.name]


def test_another_machine_goes_on_where_the_records_end(published, tmp_path):
    shutil.copytree(published / "results", tmp_path / "results")
    runs = plan(tmp_path, 4, {"dataset": f"folder:{tmp_path}/elsewhere/pictures"})
    restored = Publisher("resnext", "cpu", runs, tmp_path / "results").restore()
    assert len(restored) == 9 and [planned.is_finished() for planned in runs] == [planned.seed < 3 for planned in runs]
    for planned in runs[:9]:
        planned.run.check(planned.config)  # its settings are the planned ones
        record = json.loads((tmp_path / "results/resnext/cpu" / f"{planned.run.name}.json").read_text())
        assert {"arm": planned.arm, **record_of(planned.run)} == record
    assert Publisher("resnext", "cpu", runs, tmp_path / "results").restore() == []
    others = plan(tmp_path / "other", 1, {"epochs": 77})
    with pytest.raises(UserError, match="has another epochs"):
        Publisher("resnext", "cpu", others, tmp_path / "results").restore()


def test_a_record_from_before_a_setting_counts_as_of_its_shipped_value(published, tmp_path):
    shutil.copytree(published / "results", tmp_path / "results")
    for path in (tmp_path / "results/resnext/cpu").glob("*.json"):
        record = json.loads(path.read_text())
        if "config" in record and record["config"].pop("film") is False:
            path.write_text(json.dumps(record))
    runs = plan(tmp_path, 4, {"dataset": f"folder:{tmp_path}/elsewhere/pictures"})
    assert len(Publisher("resnext", "cpu", runs, tmp_path / "results").restore()) == 9
    for planned in (planned for planned in runs if planned.seed == 3):
        pretend(planned)
    again = Publisher("resnext", "cpu", runs, tmp_path / "results")  # by another command, to which they are finished runs
    assert again.restore() == [] and len(again.publish()) == 3
    filmed = plan(tmp_path / "filmed", 1, {"film": True})
    with pytest.raises(UserError, match="has another film: False"):
        Publisher("resnext", "cpu", filmed, tmp_path / "results").restore()


def test_runs_of_other_settings_or_other_images_are_refused(published, tmp_path):
    shutil.copytree(published / "results", tmp_path / "results")
    longer = next(planned for planned in plan(tmp_path, 4, {"epochs": 12}) if planned.seed == 3)
    pretend(longer)
    with pytest.raises(UserError, match="is of arm 'C = 1, width 16' with epochs 10, not 12"):
        publish(tmp_path, [longer])
    first, other = plan(tmp_path / "elsewhere", 1)[:2]
    other = replace(other, config=replace(other.config, run="other"))
    pretend(other, data="others")
    for planned in (first, other):
        planned.config = replace(planned.config, dataset=f"folder:{published}/secret/pictures")
    with pytest.raises(UserError, match="was computed on other images of folder:pictures"):
        publish(tmp_path, [other])
    assert len(list((tmp_path / "results").rglob("*.json"))) == 9


def test_a_question_without_a_file_is_not_published(tmp_path):
    with pytest.raises(UserError, match="--publish takes a study"):
        Publisher("compare-norm", "asked", [SimpleNamespace()], tmp_path)


def test_gradient_norms_of_the_first_seed_are_published_and_drawn(tmp_path):
    runs = plan(tmp_path, 2, study="residual_vs_plain", arms=("plain20", "resnet20"))
    for planned in runs:
        pretend(planned)
    paths = publish(tmp_path, runs, "residual_vs_plain")[1]
    flows = {path.stem[-1]: json.loads(path.read_text()).get("flow") for path in paths}
    assert flows["1"] is None and flows["0"]["gradient_norm"][0] == [0.333, 0.333] and "weight_norm" not in flows["0"]
    with published_results(tmp_path / "results") as (answers, _):
        assert "gradients" in answers[0].pictures()


def test_measures_are_published_with_their_machine_and_not_taken_again(published, tmp_path):
    shutil.copytree(published / "results", tmp_path / "results")
    publisher = Publisher("resnext", "cpu", plan(published, 3), tmp_path / "results")
    publisher.publish()
    kept = {arm: {"latency_ms": {"value": 2.5, "device": "a clock", "settings": {"data_dir": "/secret"}}} for arm in ARMS}
    publisher.publish_measures(kept | {"gone": {}})
    assert "secret" not in (publisher.folder / MEASURES).read_text()
    with published_results(tmp_path / "results") as (answers, found):
        text = results_text(answers, found)
    assert "ms an image: torch, norms folded, mean of 100 after 10 warm-ups, on a clock" in text


DAMAGE = {
    "no JSON": b"{",
    "a list": b"[]",
    "no arm": lambda record: record.pop("arm"),
    "another arm": lambda record: record.update(arm="C = 3"),
    "no metrics": lambda record: record.pop("metrics"),
    "metrics in words": lambda record: record.update(metrics="good"),
    "an accuracy of 2": lambda record: record["metrics"]["test"].update(accuracy=2),
    "an unknown setting": lambda record: record["config"].update(evil=1),
    "a setting of another type": lambda record: record["config"].update(epochs="../../x"),
    "no environment": lambda record: record.update(environment=[]),
    "a device in numbers": lambda record: record["environment"][0].update(device=3),
    "an uneven history": lambda record: record["history"]["loss"].pop(),
    "bits in words": lambda record: record["correct"].update(bits="?"),
    "fewer epochs": lambda record: record["metrics"].update(epochs=3, best_epoch=3),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_record_is_one_line(published, tmp_path, damage):
    shutil.copytree(published / "results", tmp_path / "results")
    path = sorted((tmp_path / "results").rglob("*.json"))[0]
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        record = json.loads(path.read_text())
        damage(record)
        path.write_text(json.dumps(record))
    with pytest.raises(UserError), published_results(tmp_path / "results") as (answers, found):
        results_text(answers, found)


def test_words_of_a_stranger_in_a_record_are_no_markup(published, tmp_path):
    shutil.copytree(published / "results", tmp_path / "results")
    for path in (tmp_path / "results").rglob("*.json"):
        record = json.loads(path.read_text())
        record["environment"][0]["device"] = "<script>x</script> [a](javascript:x)"
        path.write_text(json.dumps(record))
    with published_results(tmp_path / "results") as (answers, found):
        text = results_text(answers, found)
    assert "\\<script>" in text and "[a\\](javascript" in text


def test_a_study_that_there_is_not_is_one_line(tmp_path):
    (tmp_path / "results/nothing/cpu").mkdir(parents=True)
    (tmp_path / "results/nothing/cpu/a.json").write_text('{"arm": "a", "config": {}, "environment": [{}]}')
    with pytest.raises(UserError, match="unknown study 'nothing'"):
        sessions(tmp_path / "results", tmp_path / "work")


def test_a_run_that_is_not_finished_is_no_record(tmp_path):
    planned = plan(tmp_path, 1)[0]
    pretend(planned)
    (planned.run.output / "metrics.json").unlink()
    with pytest.raises(UserError, match="is not finished"):
        record_of(Run.at(planned.run.output))
    assert publish(tmp_path, [planned])[1] == []


def test_the_looks_of_a_study_are_published_and_its_p_values_stay_sequential(published, tmp_path):
    shutil.copytree(published / "results", tmp_path / "results")
    study, look_plan = replace(find("resnext"), margin=5.0), LookPlan(5.0, 12)
    write_plan(look_plan, study, tmp_path / "results" / "resnext" / "cpu")
    with published_results(tmp_path / "results") as (answers, found):
        (answer,) = answers
        text = results_text(answers, found)
    assert answer.session.look_plan == look_plan and answer.session.study.margin == 5.0
    assert all(one.looks.most == 12 for one in answer.comparisons)
    assert "--detect 5 --most-seeds 12 --margin 5 --publish" in text and "When it was known" in text
    with pytest.raises(UserError, match="began with --detect 5 --most-seeds 12 --margin 5"):
        check_plan(None, study, tmp_path / "results" / "resnext" / "cpu")
    (tmp_path / "results" / "resnext" / "cpu" / "looks.json").write_text('{"detect": "5"}')
    with pytest.raises(UserError, match="does not say with which plan"):
        sessions(tmp_path / "results", tmp_path / "work")


def test_an_arm_with_seeds_of_its_own_is_paired_with_the_others_again(tmp_path):
    (session,) = sessions(PROJECT / "results", tmp_path, only="aa_test")
    assert {(planned.arm, planned.config.seed - planned.seed) for planned in session.runs} == {
        ("network", 0),
        ("the same network", 1000),
    }
    assert {planned.seed for planned in session.runs} == set(range(20))


def test_results_are_not_collected_and_trained_at_once(ask):
    with pytest.raises(UserError, match="--results collects what is published and trains nothing"):
        ask("residual_vs_plain", "--publish", "--results", "FILE.md")
