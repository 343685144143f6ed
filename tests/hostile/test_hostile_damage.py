"""Whole runs with damage of any kind in any of their files: each is one line or harmless, whoever reads it."""

import hashlib
import json

import numpy as np
import pytest
from dashboard_pages import page
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planting import METADATA, PARTS, changed_json, copied, one_line, pipe, sound_run, write_onnx
from words_of_strangers import json_values, words

from datasets.catalog import short_name
from lab.exporting.card import write_card
from lab.exporting.network import Contract, load_network
from lab.exporting.predict import OnnxNetwork, classify
from lab.panels.records import Folders, find_records
from lab.reports.finished import Finished
from lab.reports.report_pictures import histories_of
from lab.reports.results import results_of_runs
from lab.runs.checkpoints import load_best
from lab.runs.contents import classes_of, environments_of, epochs_of, flow_of, preprocessing_of
from lab.runs.metrics import metrics_of
from lab.runs.predictions import predictions_of
from lab.runs.run import Run
from lab.studies.arm_run import ArmRun
from lab.training.evaluation import describe_overlap, read_overlap

RECORDS = ("config", "history", "metrics", "speed", "classes", "preprocessing", "flow", "environment", "overlap", "chosen")
RECORDS += ("identity",)
CHECKPOINT = ("manifest", "state")
EACH = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
FEW = settings(EACH, max_examples=8)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return sound_run(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def damaged(sound, tmp_path_factory):
    """A copy of the sound run, to be damaged and made whole again: (folder, run, network)."""
    folder = tmp_path_factory.mktemp("damaged")
    output = copied(sound, folder, "sound")
    changed_json(output / "metrics.json", "test", "absent_classes", value=[3])  # parts that only some runs have
    changed_json(output / "environment.json", "continued", value=[json.loads((output / "environment.json").read_text())])
    without = {"accuracy": 0.5, "images": 9}
    shared = dict.fromkeys(("val in train", "test in train", "test in val"), 1)
    (output / "overlap.json").write_text(json.dumps({"shared": shared, "test_without_shared": without}))
    run = Run.find("sound", folder / "output", folder / "weights")
    return folder, run, load_network(run, Contract.of(run))


odd_numbers = st.sampled_from((-1, 0, 1, 2**31, 2**62, -(2**62), 1e308, -1e-300, 0.5, True, 100_001))
odd_values = odd_numbers | json_values | words | st.sampled_from(([], {}, "", [[]], [{}], "\ud800", "../../x", "\0", "a\nb"))


@st.composite
def changes(draw, content):
    """The content with another value, or none, at one of its places."""
    if not isinstance(content, dict | list) or not content or draw(st.integers(0, 5)) == 0:
        return draw(odd_values)
    key = draw(st.sampled_from(sorted(content))) if isinstance(content, dict) else draw(st.integers(0, len(content) - 1))
    fate = draw(st.sampled_from(("changed", "changed", "changed", "gone", "added")))
    if fate == "changed":
        inner = draw(changes(content[key]))
        return {**content, key: inner} if isinstance(content, dict) else [*content[:key], inner, *content[key + 1 :]]
    if isinstance(content, dict):
        return {k: v for k, v in content.items() if k != key} if fate == "gone" else content | {draw(st.text()): draw(odd_values)}
    return content[:key] + content[key + 1 :] if fate == "gone" else [*content, draw(odd_values)]


@st.composite
def damages(draw, data):
    """Other bytes: the JSON with another value, cut off, with other bytes within, or of any kind."""
    kind = draw(st.sampled_from(("value", "value", "value", "value", "cut", "bytes", "whole")))
    if kind == "value":
        return json.dumps(draw(changes(json.loads(data)))).encode()
    place = draw(st.integers(0, len(data)))
    rest = data[place:] if kind == "bytes" else b""
    return (data[:place] if kind != "whole" else b"") + draw(st.binary(max_size=8)) + rest


def readers(run, network):
    """Reads a run as programs and pages do, without the many seconds that a network or a data set takes."""

    def card():
        write_card(run.output, run, Contract.of(run), {"safetensors": 0.0})

    def finished():
        found = Finished(run, "sound")
        results_of_runs([found])
        return found.history, found.speed, found.metrics, found.flow

    def planned():
        one = ArmRun(run.read_config(), arm="sound", seed=0)
        return one.history(), one.failure, one.is_finished() and one.metrics(), histories_of([one])

    def overlap():
        return describe_overlap(read_overlap(run), metrics_of(run))

    found = [lambda split=split: predictions_of(run, split) for split in ("val", "test")]
    reads = (epochs_of, metrics_of, classes_of, preprocessing_of, flow_of, environments_of, Contract.of)
    found += [run.read_config, run.is_finished, card, finished, planned, overlap, lambda: short_name(run.read_settings().dataset)]
    return [*found, *(lambda read=read: read(run) for read in reads), lambda: load_best(run, network)]


def look_at(folder, network):
    """Every reader of the run; whatever one of them says is one line, and the records of the dashboard never fail."""
    said = [one_line(read) for read in readers(Run("sound", folder / "output", folder / "weights"), network)]
    (record,) = find_records(Folders(str(folder / "output"), str(folder / "weights")))
    return [line for line in said if line], record


@EACH
@given(data=st.data())
@pytest.mark.parametrize("file", RECORDS)
def test_a_run_with_a_damaged_file_is_one_line_or_harmless(damaged, file, data):
    folder, run, network = damaged
    path = run.output / f"{file}.json"
    before = path.read_bytes()
    try:
        path.write_bytes(data.draw(damages(before)))
        look_at(folder, network)
    finally:
        path.write_bytes(before)


@EACH
@given(data=st.data())
def test_damaged_predictions_are_one_line_or_harmless(damaged, data):
    folder, run, network = damaged
    path = run.output / "predictions.npz"
    before = path.read_bytes()
    place, kind = data.draw(st.integers(0, len(before))), data.draw(st.sampled_from(("cut", "bytes", "changed", "whole")))
    odd = data.draw(st.binary(min_size=1, max_size=16))
    rest = {"cut": b"", "bytes": before[place:], "changed": before[place + len(odd) :], "whole": b""}[kind]
    try:
        path.write_bytes((before[:place] if kind != "whole" else b"") + odd + rest)
        look_at(folder, network)
    finally:
        path.write_bytes(before)


@EACH
@given(data=st.data())
@pytest.mark.parametrize("file", CHECKPOINT)
def test_a_checkpoint_with_a_damaged_file_is_one_line_or_harmless(damaged, file, data):
    folder, run, network = damaged
    (checkpoint,) = run.weights.glob("epoch-*")
    before = {path: path.read_bytes() for path in checkpoint.glob("*.json")}
    try:
        path = checkpoint / f"{file}.json"
        path.write_bytes(data.draw(damages(before[path])))
        if file == "state":  # as somebody would who knows how a manifest is made
            manifest = json.loads(before[checkpoint / "manifest.json"])
            manifest["state.json"] = {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            (checkpoint / "manifest.json").write_text(json.dumps(manifest))
        look_at(folder, network)
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def test_the_run_is_whole_again_and_sound(damaged):
    folder, _, network = damaged
    assert look_at(folder, network)[0] == []


@FEW
@given(data=st.data())
def test_no_page_breaks_on_a_damaged_run(damaged, data):
    folder, run, _ = damaged
    path = run.output / f"{data.draw(st.sampled_from(RECORDS))}.json"
    before = path.read_bytes()
    try:
        path.write_bytes(data.draw(damages(before)))
        page("runs", folder)
        page("one_run", folder, run="sound", part=data.draw(st.sampled_from(PARTS)))
    finally:
        path.write_bytes(before)


@EACH
@given(data=st.data())
@pytest.mark.parametrize("name", sorted(METADATA))
def test_any_metadata_of_an_onnx_file_is_one_line_or_harmless(tmp_path, name, data):
    path = tmp_path / "m.onnx"
    text = json.dumps(data.draw(odd_values)) if data.draw(st.booleans()) else data.draw(st.text(st.characters(codec="utf-8")))
    write_onnx(path, METADATA | {name: text.encode(errors="replace").decode()})
    networks = []
    if one_line(lambda: networks.append(OnnxNetwork(path))) is None:
        (network,) = networks
        network(np.zeros((1, 8, 8, 3), "uint8"))
        assert list(classify(network, [], 5)) == []


@FEW
@given(text=st.lists(words, max_size=6).map("\n".join), data=st.binary(max_size=64))
def test_any_report_of_a_study_is_shown_or_one_line(tmp_path, text, data):
    study = tmp_path / "output/studies/s"
    (study / "runs").mkdir(parents=True, exist_ok=True)
    (study / "report.html").write_bytes(text.encode(errors="replace") + data)
    assert len(page("studies", tmp_path).get("iframe")) == 1


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a device"])
def test_a_report_that_is_no_file_is_one_line(tmp_path, kind):
    study = tmp_path / "output/studies/s"
    (study / "runs").mkdir(parents=True)
    report = study / "report.html"
    if kind == "a folder":
        report.mkdir()
    elif kind == "a pipe":
        pipe(report)
    else:
        report.symlink_to("/dev/zero")
    (error,) = page("studies", tmp_path).error
    assert "can't be read" in error.value
