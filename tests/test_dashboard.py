"""The dashboard without a browser: every page on runs that have finished, that train, that are broken, and on many."""

import html
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from dashboard_pages import checked, page
from dashboard_runs import CLASSES, HISTORY, REPORT, a_picture, runs_in_every_state, settings, write_run
from PIL import Image
from processes import PATIENCE
from streamlit.testing.v1 import AppTest

import lab.panels.records
from foundation.grammar import counted
from lab import studies
from lab.panels import explain
from lab.panels.compared import chart_of
from lab.panels.records import Folders, find_records
from lab.runs.predictions import predictions_of
from lab.runs.run import Run
from lab.studies.claims import CLAIMS
from lab.training.evaluation import accuracy_interval
from lab.training.experiment import load_trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs in every state, and a study with a report."""
    with runs_in_every_state(tmp_path_factory.mktemp("dashboard")) as folder:
        yield folder


def metrics_of(app):
    return {metric.label: metric.value for metric in app.metric}


def predicted(app):
    """The class and its probability on the page of explanations."""
    return app.subheader[0].value


def test_the_menu_leads_to_the_runs(folder, monkeypatch):
    monkeypatch.setattr("sys.argv", ["dashboard.py", "--output-dir", str(folder / "output")])
    app = checked(AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE).run())
    assert app.title[0].value == "Runs"


def test_the_table_shows_every_run_with_its_state(folder):
    table = page("runs", folder).dataframe[0].value
    states = dict(zip(table["run"], table["state"], strict=True))
    stopped = {"depth/deep": "stopped", "stopped": "stopped"}
    assert states == stopped | {"broken": "broken", "finished": "finished", "live": "training"}
    metrics = json.loads((folder / "output/finished/metrics.json").read_text())
    finished = table[table["run"] == "finished"].iloc[0]
    assert finished["test accuracy"] == pytest.approx(100 * metrics["test"]["accuracy"])
    assert finished["MACs"] == metrics["macs"]
    low, high = (100 * end for end in accuracy_interval(metrics["test"]["accuracy"], metrics["test"]["images"]))
    assert finished["test, 95 %"] == f"{low:.1f} to {high:.1f} %"


def test_what_the_address_asks_for_and_there_is_not_is_said(folder):
    error = page("one_run", folder, run="finishd").error[0]
    assert "unknown run 'finishd'" in error.value.replace("\\", "") and "did you mean 'finished'" in error.value.replace("\\", "")
    assert not page("one_run", folder, run="finished").error
    assert "unknown study" in page("studies", folder, study="depht").error[0].value


def test_the_table_is_filtered_by_words_and_state(folder):
    app = page("runs", folder)
    of_all = app.dataframe[0].proto.id
    app.text_input[0].set_value("XRESNET20 depth").run()
    assert list(app.dataframe[0].value["run"]) == ["depth/deep"]
    assert app.dataframe[0].proto.id != of_all  # marks are positions: those in the table of all count in no other
    app.text_input[0].set_value("").run()
    assert app.dataframe[0].proto.id == of_all
    app.segmented_control[0].set_value(["broken"])
    assert list(checked(app.run()).dataframe[0].value["run"]) == ["broken"]


def test_val_accuracy_is_that_of_the_chosen_epoch_and_an_extended_run_has_no_result_yet(folder, tmp_path):
    shutil.copytree(folder / "output/finished", tmp_path / "output/longer")
    chosen_by_loss = {"epochs": 5, "monitor": "val_loss"}
    history = HISTORY | {"val_loss": [1.6, 2.1]}
    for file, content in (("config", settings(tmp_path, **chosen_by_loss)), ("history", history)):
        (tmp_path / f"output/longer/{file}.json").write_text(json.dumps(content))
    metrics = json.loads((tmp_path / "output/longer/metrics.json").read_text())
    metrics |= {"epochs": 2, "best_epoch": 2}  # by accuracy
    (tmp_path / "output/longer/metrics.json").write_text(json.dumps(metrics))
    (record,) = find_records(Folders(str(tmp_path / "output")))
    assert (record.state, record.best_epoch, record.metrics) == ("stopped", 0, None)
    (row,) = page("runs", tmp_path).dataframe[0].value.to_dict("records")
    assert row["val accuracy"] == 25.0 and row["test accuracy"] is None
    assert "Stopped after 2 of 5" in page("one_run", tmp_path, run="longer").info[0].value
    with record.run.writing(record.config):
        assert [found.state for found in find_records(Folders(str(tmp_path / "output")))] == ["training"]


def test_a_run_that_trains_is_shown_with_what_is_left(folder):
    app = page("runs", folder)
    assert "live" in [heading.value for heading in app.subheader]
    shown = metrics_of(app)
    assert shown["images per second"] == "1,000" and shown["val accuracy"] == "50.00 %"
    assert shown["time left, at most"].endswith("s")


def test_time_left_is_what_the_last_epochs_took(folder, monkeypatch):
    (live,) = [record for record in find_records(Folders(str(folder / "output"))) if record.name == "live"]
    monkeypatch.setattr(lab.panels.records.time, "time", lambda: live.changed + 4.0)
    assert live.seconds_left() == pytest.approx(2 * 10.0 - 4.0)
    assert replace(live, speed=None).seconds_left() is None


@pytest.mark.parametrize("part", ["Curves", "Settings", "Confusion", "Gradient flow", "Network"])
@pytest.mark.parametrize("run", ["finished", "live", "stopped"])
def test_every_part_of_every_run_is_shown(folder, run, part):
    assert not page("one_run", folder, run=run, part=part).error


def test_the_network_of_a_run_is_the_one_that_was_trained(folder):
    metrics = json.loads((folder / "output/finished/metrics.json").read_text())
    shown = metrics_of(page("one_run", folder, run="finished", part="Network"))
    assert shown["parameters"] == f"{metrics['params']:,}" and shown["MACs per image"] == f"{metrics['macs']:,}"


def test_the_confusion_of_a_run_is_shown_as_numbers(folder):
    wanted = json.loads((folder / "output/finished/metrics.json").read_text())
    for split in ("test", "val"):
        shown = page("one_run", folder, run="finished", part="Confusion", split=split).dataframe[-1].value
        assert shown.drop(columns="true").to_numpy().tolist() == wanted[split]["confusion"]


@pytest.mark.parametrize("is_right", [True, False])
def test_a_cell_of_the_confusion_opens_its_images(folder, is_right):
    def script(output, true, answer):
        from lab.panels.confusion import show_cell
        from lab.panels.records import Folders, find_records

        show_cell(next(each for each in find_records(Folders(output)) if each.name == "finished"), "test", true, answer)

    found = predictions_of(Run.find("finished", folder / "output"), "test")
    true, answer = next((t, a) for t, a in zip(found.labels, found.answers, strict=True) if (t == a) == is_right)
    places = np.flatnonzero((found.labels == true) & (found.answers == answer))
    arguments = str(folder / "output"), int(true), int(answer)
    app = checked(AppTest.from_function(script, args=arguments, default_timeout=PATIENCE).run())
    said = "named correctly" if is_right else f"taken for {answer}"
    assert app.markdown[0].value == f"{counted(len(places), 'image')} of {true} {said}" and not app.error
    captions = [caption for image in app.get("image") for caption in image.captions]
    assert captions == [f"row {found.images[place]}" for place in places]


def test_a_run_without_numbers_says_how_it_gets_them(folder, tmp_path):
    shutil.copytree(folder / "output/finished", tmp_path / "output/finished")
    metrics = json.loads((tmp_path / "output/finished/metrics.json").read_text())
    del metrics["test"]["confusion"]
    (tmp_path / "output/finished/metrics.json").write_text(json.dumps(metrics))
    (said,) = page("one_run", tmp_path, run="finished", part="Confusion").info
    assert "`python evaluate.py` records one" in said.value


def test_the_network_of_a_run_in_grey_has_one_channel(folder, tmp_path):
    shutil.copytree(folder / "output/finished", tmp_path / "output/finished")
    scaling = {"image_size": 12, "mean": [0.5], "std": [0.2]}
    (tmp_path / "output/finished/preprocessing.json").write_text(json.dumps(scaling))
    write_run(tmp_path / "output", "old", config=settings(folder, colour="grey", image_size=16), classes=CLASSES)
    for run, shape in (("finished", "12×12×1"), ("old", "16×16×1")):
        assert metrics_of(page("one_run", tmp_path, run=run, part="Network"))["input"] == shape


def test_a_broken_run_says_why(folder):
    (error,) = page("one_run", folder, run="broken").error
    assert error.value.startswith("This run is broken") and "http://example" not in error.value


def test_a_study_shows_its_report_without_scripts(folder):
    app = page("studies", folder)
    assert app.caption[0].value == "1 stopped"
    (frame,) = app.get("iframe")
    assert html.escape(REPORT) in frame.proto.srcdoc and "default-src 'none'" in frame.proto.srcdoc
    assert '<iframe sandbox=""' in frame.proto.srcdoc


def test_a_study_that_trains_shows_how_far_each_arm_is(folder, tmp_path):
    shutil.copytree(folder / "output/studies", tmp_path / "output/studies")
    progress = tmp_path / "output/studies/depth/progress.json"
    progress.write_text(json.dumps([{"arm": "<b>deep\n", "seeds": "2 of 3 seeds", "state": "open after 2 seeds"}]))
    table = page("studies", tmp_path).dataframe[0].value
    assert table.to_dict("records") == [{"arm": "<b>deep?", "seeds": "2 of 3 seeds", "state": "open after 2 seeds"}]
    progress.write_text('{"arm": 3}')
    (error,) = page("studies", tmp_path).error
    assert "holds no rows" in error.value


def test_images_of_val_are_explained_with_any_layer_and_method(folder):
    app = page("explain", folder)
    assert predicted(app)
    app.selectbox[1].set_value("last-stage")
    app.selectbox[2].set_value("layercam")
    app.selectbox[3].set_value("7")
    app.number_input[0].set_value(5)
    assert predicted(checked(app.run())) and not app.error


HOSTILE = {
    "text": (b"no image at all", "can't be read as an image"),
    "cut off": (a_picture()[:200], "can't be read as an image"),
    "a program for a printer": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "can't be read as an image"),
    "a bomb": (a_picture()[:16] + (90_000).to_bytes(4, "big") * 2 + a_picture()[24:], "can't be read as an image"),
    "many pixels": (a_picture(Image.new("1", (5001, 5000))), "5001x5000 pixels are too many"),
    "too large": (bytes(10 * 2**20 + 1), "allowed: up to 10 MB"),
}


def test_an_upload_is_explained_and_a_hostile_one_is_one_line(folder):
    app = page("explain", folder)
    app.segmented_control[0].set_value("your own").run()
    for data, why in HOSTILE.values():
        app.file_uploader[0].upload("picture.png", data, "image/png")
        (error,) = checked(app.run()).error
        assert why in error.value.replace("\\", "") and not app.subheader
    app.file_uploader[0].upload("picture.png", a_picture(), "image/png")
    assert predicted(checked(app.run())) and not app.error


def test_the_name_of_a_predicted_class_is_no_markdown(folder, monkeypatch):
    def of_odd_classes(run):
        network = explain.Network(run, run.read_config(), *load_trained(run)[:2], None, "grad-cam")
        names = tuple(f"*{name}*" for name in network.dataset.class_names)
        return replace(network, dataset=replace(network.dataset, class_names=names))

    explain.network_of.clear()
    monkeypatch.setattr(explain.Network, "of", of_odd_classes)
    assert re.match(r"\\\*\d\\\* ", predicted(page("explain", folder)))
    explain.network_of.clear()


def test_a_changed_architecture_is_drawn_or_refused_in_one_line(folder):
    app = page("architecture", folder)
    assert metrics_of(app)["parameters"] == "274,042"  # as in docs/models.md
    app.selectbox[0].set_value("preresnet20")
    assert metrics_of(checked(app.run()))["parameters"] == "273,658"
    app.selectbox[1].set_value("batch-scratch")
    assert metrics_of(checked(app.run()))["parameters"] == "273,658"


def test_a_chosen_block_shows_its_steps_with_shapes_weights_and_costs(folder):
    app = page("architecture", folder)
    app.segmented_control(key="block").set_value("stage2_block1")
    shown = checked(app.run())
    facts = [metric.value for metric in shown.metric][-4:]
    assert facts == ["32×32×16", "16×16×32", "14,720", "3,670,016"]
    steps = next(frame.value for frame in shown.dataframe if "where" in frame.value).to_dict("records")
    assert {step["where"] for step in steps} == {"branch", "shortcut", "sum", "after"}
    assert steps[0] | {"where": "branch", "step": "3×3 conv, 32, stride 2", "reads": "32×32×16", "weights": "4,608"} == steps[0]
    assert [step["step"] for step in steps if step["where"] == "sum"] == ["branch + shortcut"]


def test_compared_curves_say_their_values_and_can_be_zoomed(folder):
    finished = [record for record in find_records(Folders(str(folder / "output"))) if record.name == "finished"]
    spec = chart_of(finished, "accuracy").to_dict()
    assert {param["bind"] for param in spec["params"]} == {"scales"}
    assert [field["field"] for field in spec["layer"][1]["encoding"]["tooltip"]] == ["run", "split", "epoch", "value"]
    (rows,) = spec["datasets"].values()
    found = {(row["split"], row["epoch"]): row["value"] for row in rows}
    history = finished[0].history
    assert found["val", 2] == 100 * history["val_accuracy"][1] and found["train (augmented)", 1] == 100 * history["accuracy"][0]


def test_every_question_has_its_state_and_every_claim_its_score(folder):
    questions, scores = (frame.value.to_dict("records") for frame in page("studies", folder).dataframe)
    assert [row["study"] for row in questions] == studies.names()
    assert next(row["here"] for row in questions if row["study"] == "depth") == "0 of 1 run finished, report written"
    assert [row["claim"] for row in scores] == [claim.sentence for claim in CLAIMS]


def test_looking_changes_nothing(folder):
    def everything():
        return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    before = everything()
    for name in ("runs", "one_run", "studies", "explain"):
        page(name, folder)
    page("one_run", folder, run="live")
    assert everything() == before


DAMAGED = [("flow", "Gradient flow"), ("preprocessing", "Network"), ("classes", "Network"), ("confusion", "Confusion")]


@pytest.mark.parametrize(("file", "part"), DAMAGED)
def test_a_damaged_part_is_one_line(folder, tmp_path, file, part):
    shutil.copytree(folder / "output/finished", tmp_path / "output/finished")
    damaged = next((tmp_path / "output/finished").glob(f"{file}.*"))
    damaged.write_text("3")
    (error,) = page("one_run", tmp_path, run="finished", part=part).error
    assert damaged.stem in error.value.replace("\\", "")
