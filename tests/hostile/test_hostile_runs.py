"""Runs that a stranger sent: on the command line each is one line or harmless, and no page of the dashboard breaks."""

import os
import sys

import numpy as np
import pytest
from dashboard_pages import page
from planting import (
    changed_json,
    copied,
    header,
    one_line,
    one_tensor,
    pipe,
    signed,
    sound_run,
    with_state,
    with_values,
)

import evaluate
import explain
import export
from lab.exporting.network import Contract, load_network
from lab.panels.records import Folders, find_records
from lab.runs.contents import classes_of, environments_of, epochs_of, flow_of, preprocessing_of
from lab.runs.metrics import metrics_of
from lab.runs.predictions import predictions_of
from lab.runs.run import Run

HUGE = "1" + "0" * 400
FILES = ("config", "history", "metrics", "speed", "classes", "preprocessing", "flow", "environment")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return sound_run(tmp_path_factory.mktemp("sound"))


def read_everything(folder, name):
    """What each reader of a run says of it: None, or its one line."""
    run = Run(name, folder / "output", folder / "weights")
    readers = [run.read_config, run.is_finished, *(lambda read=read: read(run) for read in READERS)]
    return [one_line(read) for read in readers]


def speed_of(run):
    return epochs_of(run, "speed.json", ("images_per_second", "seconds"))


READERS = (epochs_of, speed_of, metrics_of, classes_of, preprocessing_of, flow_of, environments_of, Contract.of)

WHOLE = {  # a file's whole content
    "deep lists": "[" * 100_000,
    "a huge number": HUGE,
    "infinity": "[Infinity]",
    "not UTF-8": b"\xff\xfe\xfd",
    "half of it": '{"a',
}


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_a_file_of_any_content_is_one_line_on_every_page(sound, tmp_path, content):
    for file in FILES:
        target = copied(sound, tmp_path, file) / f"{file}.json"
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert any(said and f"{file}.json" in said for said in read_everything(tmp_path, file)), file
    records = {record.name: record for record in find_records(Folders(str(tmp_path / "output")))}
    assert {name for name, record in records.items() if record.state == "broken"} == {"config", "history", "metrics", "speed"}
    assert list(page("runs", tmp_path).dataframe[0].value["run"]) == sorted(FILES)
    for name, part in (("history", "Curves"), ("classes", "Network"), ("preprocessing", "Network"), ("flow", "Gradient flow")):
        (error,) = page("one_run", tmp_path, run=name, part=part).error
        assert name in error.value
    assert not page("one_run", tmp_path, run="environment", part="Settings").error


def test_pipes_devices_and_links_in_the_place_of_files_stop_nobody(sound, tmp_path):
    for file in FILES:
        pipe(copied(sound, tmp_path, file) / f"{file}.json")
    pipe(copied(sound, tmp_path, "locked") / ".lock")
    for name in ("answers", "endless-answers"):
        (copied(sound, tmp_path, name) / "predictions.npz").unlink()
    pipe(tmp_path / "output/answers/predictions.npz")
    (tmp_path / "output/endless-answers/predictions.npz").symlink_to("/dev/zero")
    for name, said in (("answers", "has no predictions.npz"), ("endless-answers", "has no predictions.npz")):
        assert said in one_line(lambda name=name: predictions_of(Run.find(name, tmp_path / "output"), "val"))
    (copied(sound, tmp_path, "endless") / "history.json").unlink()
    (tmp_path / "output/endless/history.json").symlink_to("/dev/zero")
    records = {record.name: record.state for record in find_records(Folders(str(tmp_path / "output")))}
    assert records["locked"] == "finished" and records["endless"] == records["history"] == "broken"
    assert len(page("runs", tmp_path).dataframe[0].value) == len(records) == len(FILES) + 4


def lies(checkpoint):
    """{what: the bytes of a file of the checkpoint} whose manifest will prove them whole."""
    whole = (checkpoint / "model.safetensors").read_bytes()
    return {
        "garbage": {"model": b"garbage" * 9},
        "no bytes": {"model": b""},
        "a header of 2^62 bytes": {"model": header({}, size=1 << 62)},
        "a header of a list": {"model": header([])},
        "deep lists": {"model": header({}) + b"[" * 1000},
        "a tensor beyond the end": {"model": one_tensor(checkpoint, data_offsets=[0, 1 << 60])},
        "an absurd shape": {"model": one_tensor(checkpoint, shape=[1 << 40, 1 << 40])},
        "a shape of minus one": {"model": one_tensor(checkpoint, shape=[-1])},
        "BF16": {"model": one_tensor(checkpoint, dtype="BF16")},
        "F8": {"model": one_tensor(checkpoint, dtype="F8_E4M3")},
        "no such type": {"model": one_tensor(checkpoint, dtype="F7")},
        "half of it": {"model": whole[: len(whole) // 2]},
        "NaN": {"model": with_values(checkpoint, np.nan)},
        "infinity": {"model": with_values(checkpoint, np.inf)},
        "too large for float32": {"model": with_values(checkpoint, 1e300, "float64")},
        "complex numbers": {"model": with_values(checkpoint, 1j, "complex64")},
        "the largest numbers": {"model": with_values(checkpoint, 3e38)},
        "no state": {"state": b"null"},
        "a state of lists": {"state": b"[" * 100_000},
        "no epoch": {"state": with_state(checkpoint, epoch=None)},
        "an epoch in words": {"state": with_state(checkpoint, epoch="1")},
        "epoch -1": {"state": with_state(checkpoint, epoch=-1)},
        "epoch 10^18": {"state": with_state(checkpoint, epoch=10**18)},
        "no step": {"state": with_state(checkpoint, step=None)},
        "no best": {"state": with_state(checkpoint, best=None)},
        "a best in words": {"state": with_state(checkpoint, best="../../x")},
        "a best elsewhere": {"state": with_state(checkpoint, best={"epoch": "../../x", "value": [1.0]})},
        "a best to come": {"state": with_state(checkpoint, best={"epoch": 7, "value": [1.0]})},
        "no progress": {"state": with_state(checkpoint, progress=None)},
        "seconds in words": {"state": with_state(checkpoint, progress={"seconds": "long", "images": []})},
    }


def test_signed_checkpoints_that_lie_are_one_line(sound, tmp_path):
    (checkpoint,) = (sound / "weights/sound").glob("epoch-*")
    run = Run.find("sound", sound / "output", sound / "weights")
    before = {file.name: file.read_bytes() for file in checkpoint.iterdir()}
    for what, files in lies(checkpoint).items():
        try:
            signed(checkpoint, **files)
            said = one_line(lambda: load_network(run, Contract.of(run)))
            assert said or what == "the largest numbers", what
        finally:
            for name, data in before.items():
                (checkpoint / name).write_bytes(data)
    assert one_line(lambda: load_network(run, Contract.of(run))) is None


def test_a_run_that_is_looked_at_downloads_nothing_and_the_dashboard_writes_nothing(sound, tmp_path, monkeypatch):
    output = copied(sound, tmp_path, "foreign")
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("asked for an address"))
    for dataset in ("cifar10", "tiny_imagenet25", "tfds:mnist"):
        changed_json(output / "config.json", "dataset", value=dataset)
        for script in (evaluate, explain, export):
            monkeypatch.setattr(sys, "argv", ["SCRIPT", "foreign", "--output-dir", str(tmp_path / "output")])
            assert "downloads nothing" in one_line(script.main)
        (error,) = page("explain", tmp_path).error
        assert "downloads" in error.value
    assert not (tmp_path / "data").exists()


def test_the_dashboard_decodes_into_no_folder_of_a_run(sound, tmp_path, image_folder):
    output = copied(sound, tmp_path, "foreign")
    changed_json(output / "config.json", "dataset", value=f"folder:{image_folder}")
    changed_json(output / "config.json", "data_dir", value=str(tmp_path / "precious"))
    os.remove(output / "identity.json")
    (tmp_path / "precious").mkdir()
    (error,) = page("explain", tmp_path).error
    assert "writes nothing" in error.value and list((tmp_path / "precious").iterdir()) == []
