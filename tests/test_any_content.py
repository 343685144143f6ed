"""Files and flags of any content are read, refused in one line or set aside: properties by hypothesis."""

import hashlib
import io
import json
import string
import subprocess
from dataclasses import asdict, fields

import numpy as np
import pytest
from conftest import ROOT, run_python
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save_file
from whole_runs import train

from datasets.images import BrokenImage, read_image
from foundation.errors import UserError
from foundation.flags import read_config
from foundation.settings import Config
from lab.runs.checkpoints import newest_whole, read_state
from lab.runs.run import Run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, image_folder):
    """A finished run of one epoch."""
    folder = tmp_path_factory.mktemp("finished")
    process = train(folder, image_folder, "--n", "1", "--epochs", "1", "--warmup-epochs", "0", "--run", "r")
    assert process.returncode == 0, process.stderr
    return folder


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)

many = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(st.data())
def test_edited_settings_of_a_run_are_one_line(finished, tmp_path, data):
    run = Run("r", tmp_path, tmp_path)
    run.output.mkdir(exist_ok=True)
    kept = json.loads((finished / "output/r/config.json").read_text())
    kept[data.draw(st.sampled_from([*kept, "unknown"]))] = data.draw(json_values)
    text = json.dumps(data.draw(st.sampled_from([kept, data.draw(json_values)])))
    (run.output / "config.json").write_text(text[: data.draw(st.sampled_from([len(text), len(text) // 2]))])
    try:
        assert isinstance(run.read_config(), Config)
    except UserError as error:
        assert str(error)


@many
@given(st.data())
def test_a_run_folder_of_any_content_is_read_or_set_aside(finished, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    source = finished / "weights/r/epoch-00001"
    target = folder / "epoch-00001"
    target.mkdir()
    for file in source.iterdir():
        content = file.read_bytes()
        damage = data.draw(st.sampled_from(["none", "none", "none", "cut", "other", "missing"]))
        if damage == "cut":
            content = content[: data.draw(st.integers(0, len(content) - 1))]
        elif damage == "other":
            content = data.draw(st.binary(max_size=64))
        if damage != "missing":
            (target / file.name).write_bytes(content)
    found = newest_whole(folder, sets_aside=True)
    contents = [{file.name: file.read_bytes() for file in place.iterdir()} for place in (source, next(folder.iterdir()))]
    assert (found is not None) == (contents[0] == contents[1])
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weights: weights.pop("stem_conv/kernel"), "missing ['stem_conv/kernel']"),
        (lambda weights: weights.update(bogus=np.zeros(3)), "not wanted ['bogus']"),
        (
            lambda weights: weights.update({"stem_conv/kernel": np.zeros((3, 3, 1, 16))}),
            "stem_conv/kernel is (3, 3, 1, 16), wanted",
        ),
    ],
    ids=["missing", "unknown", "other shape"],
)
def test_weights_that_do_not_fit_are_named(change, words, finished, tmp_path):
    """Also where the manifest is right: somebody made the checkpoint so."""
    subprocess.run(["cp", "-r", finished / "output", finished / "weights", tmp_path], check=True)
    folder = tmp_path / "weights/r/epoch-00001"
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["model.safetensors"]["sha256"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    process = run_python(ROOT / "evaluate.py", "r", cwd=tmp_path)
    assert process.returncode == 2 and words in process.stderr and process.stderr.count("\n") == 1, process.stderr


@many
@given(json_values)
def test_a_checkpoints_state_is_a_state_or_one_line(value):
    try:
        state = read_state({"state.json": json.dumps(value).encode()})
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert state == value and state["epoch"] >= 0 and state["step"] >= 0


def test_what_a_checkpoint_must_say_is_little():
    state = {"epoch": 3, "step": 0}
    assert read_state({"state.json": json.dumps(state).encode()}) == state


@many
@given(st.data())
def test_no_bytes_make_the_image_reader_fail_otherwise(tmp_path, data):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "MPO"]))
    more = ["1"] * (kind not in ("AVIF", "JPEG2000")) + ["P"] * (kind in ("PNG", "GIF", "BMP", "TIFF"))
    mode = data.draw(st.sampled_from(["RGB", "L", *more]))
    file = io.BytesIO()
    Image.fromarray(np.arange(300, dtype="uint8").reshape(10, 10, 3)).convert(mode).save(file, format=kind)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    (tmp_path / "image").write_bytes(content)
    try:
        image = read_image(tmp_path / "image", 8)
        assert image.shape == (8, 8, 3) and image.dtype == np.uint8
    except BrokenImage as error:
        assert str(error)


@many
@given(st.data())
def test_flags_of_any_kind_are_settings_or_one_line(data):
    names = ["--" + field.name.replace("_", "-") for field in fields(Config)] + ["--no-such", "-x", "--"]
    values = st.one_of(st.text(string.printable, max_size=8), st.floats().map(str), st.integers().map(str))
    arguments = []
    for _ in range(data.draw(st.integers(1, 4))):
        arguments.append(data.draw(st.sampled_from(names)))
        if data.draw(st.booleans()):
            arguments.append(data.draw(values))
    try:
        assert asdict(read_config(arguments))
    except UserError as error:
        assert str(error)
    except SystemExit as end:
        assert end.code == 0 and {"-h", "--help"} & set(arguments)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("bomb", "pixels are too many"),
        ("16 bit", None),
        ("animated", None),
        ("wrong ending", None),
        ("text", "an unknown kind of file; images are JPEG"),
    ],
)
def test_hostile_images_are_read_as_what_they_are_or_told_of(kind, words, tmp_path):
    path = tmp_path / "image.png"
    if kind == "bomb":
        Image.new("1", (100_000, 1_000)).save(path)
    elif kind == "16 bit":
        Image.fromarray(np.full((20, 20), 40_000, "uint16")).save(path)
    elif kind == "animated":
        frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
        frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:])
    elif kind == "wrong ending":
        Image.new("RGB", (20, 20), "red").save(path, format="JPEG")
    else:
        path.write_text("#!/bin/sh\nrm -rf /\n")
    if words:
        with pytest.raises(BrokenImage, match=words):
            read_image(path, 8)
        return
    level = read_image(path, 8)[4, 4].astype(int)
    expected = [156, 156, 156] if kind == "16 bit" else [255, 0, 0]
    assert np.abs(level - expected).max() <= 2
