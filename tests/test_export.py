"""Exports agree with the network they come from, or are not there; predict.py reads runs, ONNX files and broken images."""

import csv
import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import onnxruntime
import pytest
import torch
from conftest import ROOT, run_python, write_images
from processes import run_module
from trained_networks import FEW_NETWORKS, trained

from datasets.samples import FULL_RANGES
from foundation.errors import RunFailure, UserError
from lab.exporting import export as exporting
from lab.exporting.card import write_card
from lab.exporting.formats import FORMATS, write_onnx
from lab.exporting.network import Contract, from_pixels
from lab.exporting.predict import OnnxNetwork, as_csv, classify, find_images, line
from lab.runs.run import Run

CONTRACT = Contract("resnet20", {}, 32, list("abcdefg"), [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])


@pytest.mark.parametrize(("name", "options"), FEW_NETWORKS.values(), ids=FEW_NETWORKS)
def test_every_family_and_norm_agrees_with_onnx_runtime(name, options, tmp_path):
    model = from_pixels(trained(name, **options), CONTRACT)
    write_onnx(model, CONTRACT, tmp_path / "model.onnx")
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), "uint8")
    found = OnnxNetwork(tmp_path / "model.onnx")(images)
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


def test_the_scaling_of_pixels_is_part_of_the_network():
    network = trained("resnet20", blocks=1)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    scaled = (pixels / 255.0 - np.asarray(CONTRACT.mean)) / np.asarray(CONTRACT.std)
    with torch.no_grad():
        expected = network(scaled.astype("float32"), training=False)
        torch.testing.assert_close(from_pixels(network, CONTRACT)(pixels, training=False), expected, atol=1e-3, rtol=1e-4)


# Runtimes that are not Keras' own have new interpreters, as users' exports have. That Keras needs no more than itself is
# asked in test_export_keras.
EXPORT = """
import export
from foundation.scripts import run_script
from lab.exporting import export as exporting
from lab.exporting import formats
from processes import run_module
of_user = formats.run_module
def run(module, name, *arguments, backend="torch"):
    is_of_keras = module == "lab.exporting.savedmodel" or name in ("keras", "safetensors")
    (run_module if is_of_keras else of_user)(module, name, *arguments, backend=backend)
exporting.run_module = formats.run_module = run
run_script(export.main)
"""


@pytest.fixture(scope="module")
def finished(finished_run):
    """The folder of a finished run, exported in all formats, and what export.py printed."""
    process = run_python("-c", EXPORT, "r", "--formats", ",".join(FORMATS), "--allow-loss", "100", cwd=finished_run)
    assert process.returncode == 0, process.stderr
    return finished_run, process.stdout


def test_every_format_is_there_with_its_difference_and_a_card(finished):
    folder, said = finished
    files = {path.name for path in (folder / "output/r/export").iterdir()}
    assert files == {kind.file for kind in FORMATS.values()} | {"MODEL_CARD.md"}
    assert said.count("largest difference") == len(FORMATS) and said.count(" points lost (95 % interval ") == 1
    card = (folder / "output/r/export/MODEL_CARD.md").read_text()
    for words in ("| 2 | light |", "| test | 24 |", "(pixel / 255 - mean) / std", "(N, 12, 12, 3)", "Intended use and limits"):
        assert words in card
    assert not [path.name for path in (folder / "output/r").iterdir() if path.name.startswith(".exporting")]


def test_the_card_of_a_fine_tuned_grey_network_names_its_source_and_its_one_channel(finished):
    folder, _ = finished
    run = Run.find("r", folder / "output", folder / "weights")
    before = run.read_json("config.json")
    grey = replace(CONTRACT, mean=[0.5], std=[0.2])
    try:
        run.write_json("config.json", before | {"init_from": "photos", "freeze": "backbone", "colour": "grey"})
        write_card(folder, run, grey, {"onnx": 1e-6})
    finally:
        run.write_json("config.json", before)
    card = (folder / "MODEL_CARD.md").read_text()
    assert "`(N, 32, 32, 1)` uint8, grey" in card and "RGB" not in card
    for words in ("weights of `photos`", "| `init_from` | `photos` |", "| `freeze` | `backbone` |", "| `colour` | `grey` |"):
        assert words in card


def test_an_onnx_file_says_what_its_input_and_classes_are(finished):
    session = onnxruntime.InferenceSession(finished[0] / "output/r/export/model.onnx")
    contract = session.get_modelmeta().custom_metadata_map
    assert json.loads(contract["class_names"]) == ["dark", "grey", "light"]
    assert (session.get_inputs()[0].name, session.get_inputs()[0].type) == ("images", "tensor(uint8)")
    assert session.get_inputs()[0].shape[1:] == [12, 12, 3] and isinstance(session.get_inputs()[0].shape[0], str)


def test_a_format_that_disagrees_is_an_error_and_not_left_behind(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.chdir(folder)
    right = FORMATS["safetensors"].write

    def wrong(model, contract, path):
        right(model, contract, path)
        content = bytearray(path.read_bytes())
        content[-200:] = b"\x3f" * 200
        path.write_bytes(content)

    monkeypatch.setattr(exporting, "run_module", run_module)
    monkeypatch.setitem(FORMATS, "safetensors", type(FORMATS["keras"])("weights.safetensors", "", "", wrong))
    before = sorted(path.name for path in (folder / "output/r/export").iterdir())
    with pytest.raises(RunFailure, match="safetensors: its logits differ"):
        exporting.export(Run.find("r", "output", "weights"), ["safetensors"])
    assert sorted(path.name for path in (folder / "output/r/export").iterdir()) == before


def test_a_library_that_fails_costs_its_own_format_alone(finished, tmp_path, monkeypatch):
    folder = tmp_path / "runs"
    shutil.copytree(finished[0], folder, ignore=shutil.ignore_patterns("export"))
    monkeypatch.chdir(folder)

    def fails(model, contract, path):
        path.write_bytes(b"half")
        raise ValueError("no such operator\nand a long story")

    def breaks(module, *arguments, backend="torch"):
        if backend == "tensorflow":
            raise RunFailure("out of memory")
        return run_module(module, *arguments)

    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], write=fails))
    for room in ("formats", "export"):
        monkeypatch.setattr(f"lab.exporting.{room}.run_module", breaks)
    with pytest.raises(RunFailure) as caught:
        exporting.export(Run.find("r", "output", "weights"), ["onnx", "safetensors", "savedmodel"])
    assert "onnx: it can't be written: ValueError: no such operator; savedmodel: out of memory" in str(caught.value)
    assert {path.name for path in (folder / "output/r/export").iterdir()} == {"weights.safetensors", "MODEL_CARD.md"}


def test_a_run_and_its_onnx_file_predict_the_same(finished, tmp_path):
    folder, _ = finished
    write_images(tmp_path / "new", ("dark", "light"), 2, seed=5)
    (tmp_path / "new" / "broken.png").write_bytes(b"no image")
    rows = {}
    for network in ("r", "output/r/export/model.onnx"):
        process = run_python(ROOT / "predict.py", network, tmp_path / "new", "--csv", tmp_path / "p.csv", cwd=folder)
        assert process.returncode == 2
        faults = [text for text in process.stderr.splitlines() if "broken.png" in text]
        assert len(faults) == 1 and "Traceback" not in process.stderr
        with open(tmp_path / "p.csv") as file:
            rows[network] = list(csv.DictReader(file))
    run, onnx = rows.values()
    assert len(run) == 4
    for a, b in zip(run, onnx, strict=True):
        assert [a["file"], a["class_1"]] == [b["file"], b["class_1"]]
        assert float(a["probability_1"]) == pytest.approx(float(b["probability_1"]), abs=1e-4)


def test_predicting_from_an_onnx_file_imports_no_keras(finished, tmp_path):
    write_images(tmp_path / "new", ("dark",), 1)
    program = (
        f"import sys; sys.argv = ['predict.py', 'model.onnx', {str(tmp_path / 'new')!r}]\nimport predict\n"
        "assert predict.main() == 0\nassert not {'keras', 'torch', 'tensorflow', 'jax'} & sys.modules.keys()"
    )
    process = run_python("-c", program, cwd=finished[0] / "output/r/export", is_new=True)
    assert process.returncode == 0, process.stderr
    assert "%" in process.stdout


class Constant:
    """A network whose first class is ever surer."""

    image_size, channels, class_names, ranges = 8, 3, ("a", "b\x1b[2J", "c"), FULL_RANGES

    def __call__(self, images):
        return np.tile(np.array([[3.0, 2.0, -1.0]], "float32"), (len(images), 1))


def test_top_classes_are_in_order_and_sum_to_one(tmp_path):
    write_images(tmp_path, ("x",), 70)
    found = list(classify(Constant(), find_images([tmp_path])[0], 3))
    assert len(found) == 70 and all(fault is None for *_, fault in found)
    file, classes, _ = found[0]
    assert [name for name, _ in classes] == ["a", "b\x1b[2J", "c"]
    assert sum(share for _, share in classes) == pytest.approx(1)
    assert "\x1b" not in line(file, classes, 10)
    assert as_csv([(file, classes)], 3).splitlines()[0].startswith(b"file,class_1,probability_1,class_2")


def test_a_file_that_is_named_twice_is_classified_twice(tmp_path):
    write_images(tmp_path, ("x",), 1)
    (tmp_path / "broken.png").write_bytes(b"no image")
    files, _ = find_images([tmp_path, tmp_path / "broken.png", next((tmp_path / "x").iterdir())])
    found = list(classify(Constant(), files, 1))
    assert [file for file, *_ in found] == files and len(files) == 4
    assert [fault is None for *_, fault in found] == [file.name != "broken.png" for file in files]


def test_hidden_copies_are_not_classified_unless_they_are_named(tmp_path):
    """Such as those that a Mac leaves beside every picture, which are none."""
    for name in ("robin.jpg", "._robin.jpg", ".thumbnails/robin.jpg", "more/wren.JPG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert find_images([tmp_path])[0] == [tmp_path / "more/wren.JPG", tmp_path / "robin.jpg"]
    assert find_images([tmp_path / "._robin.jpg"])[0] == [tmp_path / "._robin.jpg"]


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match="can't be loaded"):
        OnnxNetwork(tmp_path / "no.onnx")
    with pytest.raises(UserError, match="no image file in"):
        find_images([tmp_path])
    process = run_python(ROOT / "export.py", "r", "--formats", "onx", cwd=tmp_path)
    assert process.returncode == 2 and "did you mean 'onnx'" in process.stderr
    assert process.stderr.count("\n") == 1
