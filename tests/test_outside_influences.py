"""What must not change a result (Keras' own settings file, equal names and times of other files, how an accent is spelt), and
bugs, which must not be hidden from those who could mend them."""

import ast
import errno
import json
import os
import unicodedata
from importlib import import_module
from importlib.util import find_spec
from inspect import getmembers, isclass

import keras
import numpy as np
import pytest
from conftest import ROOT, run_python, write_images
from PIL import Image

from datasets.catalog import load
from datasets.content import add_content
from foundation.errors import UserError, is_of_the_system, same_text
from foundation.scripts import run_script
from lab.explanations.examples import label_of, target_labels, towards_class
from lab.training.evaluation import measure

NFC, NFD = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))

# ---- keras.json

ASK = """
import dispatcher, numpy as np, json
model = dispatcher.build_model("resnet20", (8, 8, 3), 3, blocks=1)
import keras
from lab.training.f1 import MacroF1
pooled = keras.layers.GlobalAveragePooling2D()(np.arange(24.0).reshape(1, 2, 4, 3))
print(json.dumps([keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon(), keras.config.max_epochs(),
    list(pooled.shape), MacroF1(3).confusion.dtype, model.output_shape, keras.config.dtype_policy().name]))
"""


def test_no_keras_json_is_obeyed(tmp_path, monkeypatch):
    hostile = {
        "image_data_format": "channels_first",
        "floatx": "float16",
        "epsilon": 0.01,
        "backend": "jax",
        "nnx_enabled": False,
    }
    (tmp_path / "keras.json").write_text(json.dumps(hostile | {"max_epochs": 1}))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_MAX_EPOCHS", "1")
    process = run_python("-c", ASK)
    found = json.loads(process.stdout.splitlines()[-1])
    assert found == ["channels_last", "float32", 1e-7, None, [1, 3], "float32", [None, 3], "float32"], process.stderr


def sources():
    rooms = [
        folder for folder in ROOT.iterdir() if folder.is_dir() and not folder.name.startswith(".") and folder.name != "tests"
    ]
    paths = [*ROOT.glob("*.py"), *(path for folder in rooms for path in folder.rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imported(path):
    """The names that importing a file imports, with the packages that hold them."""
    for node in ast.parse(path.read_text()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            yield from (name[:end] for end in (*(i for i, c in enumerate(name) if c == "."), len(name)))


def test_every_file_that_makes_layers_metrics_or_optimizers_sets_keras_defaults_first():
    files = sources()
    graph = {name: {other for other in imported(path) if other in files} for name, path in files.items()}

    def reached(name):
        packages = [name[:end] for end, letter in enumerate(name) if letter == "."]
        found, new = {name, *packages}, [name, *packages]
        while new:
            new = [other for other in graph.get(new.pop(), ()) if other not in found] + new
            found.update(new)
        return found

    makers = [
        n for n, path in files.items() if any(f"keras.{w}." in path.read_text() for w in ("layers", "metrics", "optimizers"))
    ]
    assert len(makers) > 5
    assert [name for name in makers if "foundation.keras_defaults" not in reached(name)] == []


# ---- decode caches


def bitmap(path, value):
    path.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8), (value, value, value)).save(path)
    os.utime(path, (1e9, 1e9))  # as an archive gives it to all


def test_two_folders_of_equal_names_sizes_and_times_have_their_own_pixels(tmp_path):
    found = []
    for parent, values in (("a", (10, 20)), ("b", (110, 120))):
        for name, value in zip(("x", "y"), values, strict=True):
            for i in range(8):
                bitmap(tmp_path / parent / "pictures/train" / name / str(i) / "i.bmp", value + i)
        found.append(load(f"folder:{tmp_path / parent / 'pictures'}", str(tmp_path / "data"), val_fraction=0.2))
    first, second = found
    assert first.train.read().max() < 100 < second.train.read().min()
    assert first.fingerprint != second.fingerprint


def digest_of(root, files, monkeypatch=None, whole=None):
    import hashlib

    if whole is not None:
        monkeypatch.setattr("datasets.content.WHOLE_BYTES", whole)
    digest = hashlib.sha256()
    add_content(digest, root, files)
    return digest.hexdigest()


def test_a_small_set_is_known_by_all_its_bytes_and_a_large_one_also_by_its_place(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(b"0" * 99 + (b"1" if name == "c" else b"0"))
        os.utime(tmp_path / name / "f", (1e9, 1e9))
    a, b, c = ((tmp_path / name, [tmp_path / name / "f"]) for name in ("a", "b", "c"))
    assert digest_of(*a) == digest_of(*b) != digest_of(*c)
    sampled = [digest_of(*one, monkeypatch, whole=50) for one in (a, b, c)]
    assert len(set(sampled)) == 3


# ---- names and ties


def test_one_name_in_two_normal_forms_is_one_name(tmp_path):
    assert NFC != NFD and same_text(NFD, ["tea", NFC]) == NFC and same_text("coffee", [NFC]) is None
    assert label_of(NFD, ("tea", NFC)) == label_of(NFC, ("tea", NFD)) == 1
    write_images(tmp_path / "train", (NFC, "tea"), 12, size=8)
    write_images(tmp_path / "test", (NFD, "tea"), 3, size=8)
    dataset = load(f"folder:{tmp_path}", str(tmp_path / "data"))
    assert dataset.class_names == (NFC, "tea") and np.bincount(dataset.test.labels).tolist() == [3, 3]


def test_a_class_may_be_called_as_a_kind_of_map_is():
    names, probabilities, labels = ("predicted", "other", "true"), np.array([[0.1, 0.7, 0.2]]), np.array([0])
    assert target_labels("true", probabilities, labels, names) == [0]
    assert target_labels("predicted", probabilities, labels, names) == [1]
    assert target_labels("class:true", probabilities, labels, names) == [2]
    assert target_labels("class:predicted", probabilities, None, names) == [0]
    assert [target_labels(towards_class(name), probabilities, labels, names)[0] for name in names] == [0, 1, 2]
    with pytest.raises(UserError, match="unknown class 'truth'"):
        target_labels("class:truth", probabilities, labels, names)


@pytest.mark.parametrize("value", [0.0, -3.0, float("nan")])
def test_a_network_that_says_the_same_of_all_classes_is_not_right(value):
    with np.errstate(invalid="ignore"):
        metrics = measure(np.full((20, 10), value), np.arange(20) % 10)
    assert metrics["top5_accuracy"] == 0.0
    assert metrics["accuracy"] == 0.1  # an answer is given, by the first class, whatever is true


def test_top_5_without_ties_is_that_of_a_sort():
    logits, labels = np.random.default_rng(0).normal(size=(200, 9)), np.arange(200) % 9
    best = np.argsort(-logits, axis=1)[:, :5]
    assert measure(logits, labels)["top5_accuracy"] == np.mean([label in row for label, row in zip(labels, best, strict=True)])


# ---- bugs are shown

SYSTEM = [
    FileNotFoundError(errno.ENOENT, "No such file or directory", "/somewhere/photos"),
    PermissionError(errno.EACCES, "Permission denied", "output/r"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "I/O error"),
]
BUGS = [
    OSError("no errno: raised by a library for reasons of its own"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    ProcessLookupError(errno.ESRCH, "No such process"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", str(ROOT / "training/gone.py")),
    FileNotFoundError(errno.ENOENT, "No such file or directory", np.__file__ + "/data"),
    KeyError("best"),
]


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize("error", SYSTEM, ids=str)
def test_what_a_path_or_a_disk_causes_is_one_line(error, capsys):
    with pytest.raises(SystemExit) as left:
        run_script(raising(error))
    assert left.value.code == 2 and capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("error", BUGS, ids=str)
def test_a_bug_keeps_its_traceback(error):
    assert not is_of_the_system(error)
    with pytest.raises(type(error)):  # which Python prints, and ends with 1
        run_script(raising(error))


# ---- callbacks of earlier versions


def test_every_callback_with_a_memory_says_whether_a_run_can_go_on_without():
    found = []
    for path in (path for path in (ROOT / "callbacks").glob("*.py") if "get_state" in path.read_text()):
        for _, kind in getmembers(import_module(f"callbacks.{path.stem}"), isclass):
            if issubclass(kind, keras.callbacks.Callback) and hasattr(kind, "get_state"):
                found.append(kind.__name__)
                assert isinstance(kind.needs_state, str), kind
    assert {"BestEpoch", "Plateau", "TrainingMonitor", "Progress", "GradientFlow"} <= set(found)


@pytest.mark.parametrize("library", ["keras_hub", "tensorflow_datasets"])
def test_a_library_with_uses_for_another_package_called_datasets_imports_beside_ours(library):
    """Hugging Face's package has the name of our folder, which comes first where both are there."""
    if not find_spec(library):
        pytest.skip(f"{library} is not installed")
    program = f"import datasets, {library}, datasets.catalog; datasets.catalog.check_name('tfds:beans'); print(datasets.__file__)"
    process = run_python("-c", program, cwd=ROOT)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == str(ROOT / "datasets" / "__init__.py")


def test_a_network_is_folded_without_an_import_of_tensorflow_on_another_backend():
    program = """
import sys, models.folding, dispatcher
models.folding.fold_norms(dispatcher.build_model("resnet20", (8, 8, 3), 2, blocks=1))
assert "tensorflow" not in sys.modules
import tensorflow  # by whoever needs it
"""
    process = run_python("-c", program, cwd=ROOT)
    assert process.returncode == 0, process.stderr
