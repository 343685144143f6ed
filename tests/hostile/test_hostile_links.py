"""Links, pipes and pictures that a stranger put into a run's folder, a study or a data folder."""

import hashlib
import json

import numpy as np
import pytest
from conftest import write_images
from dashboard_pages import page
from planting import copied, one_line, pipe, run_of_many_letters, sound_run

from datasets.catalog import load
from datasets.content import add_content
from datasets.decoded import decoded
from datasets.tensorflow_datasets import FEATURES
from foundation.errors import UserError
from foundation.files import write_whole
from lab.explanations.gallery import Gallery
from lab.explanations.network import Network
from lab.exporting.export import export
from lab.reports.finished import Finished
from lab.reports.pictures import folder_in
from lab.runs.run import Run


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return sound_run(tmp_path_factory.mktemp("sound"))


def test_nothing_is_written_or_removed_through_a_link_in_a_run(sound, tmp_path):
    output = copied(sound, tmp_path, "linked")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    for name in ("export", "explain", "figures", "tensorboard"):
        (output / name).symlink_to(tmp_path / "precious")
    run = Run.find("linked", tmp_path / "output", tmp_path / "weights")
    attempts = [
        lambda: export(run, ["safetensors"]),
        lambda: Gallery([Network.of(run)], "predicted", ""),
        lambda: folder_in("output", None, "together")([Finished(run, "linked")]),
        lambda: run.folder("tensorboard"),
        lambda: run.folder("explain/beside-other"),
    ]
    for attempt in attempts:
        assert "is a link to another folder" in one_line(attempt)
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["file"]


def test_a_class_name_of_240_letters_is_a_page_of_explain(tmp_path, image_folder):
    run, name = run_of_many_letters(tmp_path, image_folder)
    written = Gallery([Network.of(run)], "predicted", "").show_classes([name], 1, 2)
    (shown,) = written.parent.glob("class-*.html")
    assert len(shown.name) < 150 and name in shown.read_text() and shown.name in written.read_text()


FORMATS = {"PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9000 9000\n%%EndComments\n", "SVG": b"<svg/>", "x": b"x"}


@pytest.mark.parametrize("data", FORMATS.values(), ids=FORMATS)
def test_a_picture_of_a_study_starts_no_program(tmp_path, monkeypatch, data):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was called"))
    (tmp_path / "output/studies/s/runs").mkdir(parents=True)
    (tmp_path / "output/studies/s/curves.png").write_bytes(data)
    (error,) = page("studies", tmp_path).error
    assert "images are JPEG" in error.value


@pytest.mark.parametrize("name", ["beans", "beans:0.1.0", "evil", "Evil"])
def test_features_of_a_prepared_set_are_looked_at_behind_links_too(in_folder, name):
    hidden = in_folder / "elsewhere"
    hidden.mkdir()
    features = {"pythonClassName": FEATURES + "x.X", "a": {"pythonClassName": "antigravity.Evil"}}
    (hidden / "features.json").write_text(json.dumps(features))
    (hidden / "dataset_info.json").write_text(json.dumps({"name": "evil", "version": "0.1.0", "splits": []}))
    (hidden / "loop").symlink_to(hidden)
    prepared = in_folder / "data" / name.partition(":")[0].lower()
    prepared.mkdir(parents=True)
    (prepared / "0.1.0").symlink_to(hidden)
    with pytest.raises(UserError, match="allowed: features of tensorflow_datasets itself"):
        load(f"tfds:{name}")


def test_a_set_that_nobody_knows_reaches_for_no_network(in_folder, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("asked for an address"))
    with pytest.raises(UserError, match="unknown TensorFlow data set"):
        load("tfds:set_that_nobody_knows")


IMAGES = np.zeros((6, 4, 4, 3), "uint8")
LIES = {
    "deep": "[" * 100_000,
    "a list": "[]",
    "no labels": '{"shape": [6, 4, 4, 3]}',
    "labels of lists": '{"shape": [6, 4, 4, 3], "labels": [[1], [1], [1], [1], [1], [1]], "broken": []}',
    "labels in words": '{"shape": [6, 4, 4, 3], "labels": ["a", 1, 1, 1, 1, 1], "broken": []}',
    "huge labels": '{"shape": [6, 4, 4, 3], "labels": [4611686018427387904, 1, 1, 1, 1, 1], "broken": []}',
    "no shape": '{"shape": [-6, -4, 4, 3], "labels": [1, 1, 1, 1, 1, 1], "broken": []}',
    "another count": '{"shape": [3, 4, 4, 3], "labels": [1, 1, 1], "broken": []}',
    "broken in words": '{"shape": [6, 4, 4, 3], "labels": [1, 1, 1, 1, 1, 1], "broken": "x"}',
    "broken beyond": '{"shape": [5, 4, 4, 3], "labels": [1, 1, 1, 1, 1], "broken": [[9, "x"]]}',
    "ranges": '{"shape": [6, 4, 4, 3], "labels": [1, 1, 1, 1, 1, 1], "broken": [], "ranges": {"float": ["a", "b"]}}',
}


@pytest.mark.parametrize("content", [*LIES.values(), None], ids=[*LIES, "a pipe"])
def test_decoded_images_that_lie_are_decoded_anew(tmp_path, content):
    decoded(tmp_path / "set", 6, lambda i: (IMAGES[i], 1), 4, "train")
    if content is None:
        for name in ("contents.json", "images.bin", "signatures.bin"):
            pipe(tmp_path / "set" / name)
    else:
        (tmp_path / "set/contents.json").write_text(content)
    images, labels, broken = decoded(tmp_path / "set", 6, lambda i: (IMAGES[i], 1), 4, "train")
    assert len(images) == 6 and labels.tolist() == [1] * 6 and broken == [] and len(images.signatures()) == 6


def test_decoded_images_behind_a_link_are_not_removed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    (tmp_path / "set").symlink_to(tmp_path / "precious")
    decoded(tmp_path / "set", 6, lambda i: (IMAGES[i], 1), 4, "train")
    assert (tmp_path / "precious/file").exists() and not (tmp_path / "set").is_symlink()


def test_decoded_images_of_classes_that_a_set_does_not_have_are_one_line(in_folder):
    write_images(in_folder / "set/train", ("a", "b"), 20)
    load("folder:set")
    for contents in (in_folder / "data/decoded").glob("*/contents.json"):
        content = json.loads(contents.read_text())
        contents.write_text(json.dumps(content | {"labels": [7, *content["labels"][1:]]}))
    with pytest.raises(UserError, match="images of other classes than the 2"):
        load("folder:set")


def test_a_pipe_among_images_stops_nobody(tmp_path):
    pipe(tmp_path / "a.JPEG")
    add_content(hashlib.sha256(), tmp_path, [tmp_path / "a.JPEG"])
    root = tmp_path / "tiny-imagenet-200"
    (root / "val").mkdir(parents=True)
    (root / "wnids.txt").write_bytes(b"n01 \xff\xfe")
    pipe(root / "words.txt")
    with pytest.raises(UserError, match=r"words\.txt"):
        load("tiny_imagenet200", tmp_path)


def test_leftovers_of_earlier_versions_are_removed(tmp_path):
    for name in (".decoding-ab1_cd", ".unpacking-x", ".writing-x"):
        (tmp_path / name / "whole").mkdir(parents=True)
    write_whole(tmp_path, "file", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_lock_that_is_a_link_is_one_line_and_stays(sound, tmp_path):
    output = copied(sound, tmp_path, "linked")
    (tmp_path / "precious").write_text("precious")
    (output / ".lock").unlink(missing_ok=True)
    (output / ".lock").symlink_to(tmp_path / "precious")
    run = Run.find("linked", tmp_path / "output", tmp_path / "weights")
    with pytest.raises(UserError, match="can't be written"), run.writing(run.read_config()):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
