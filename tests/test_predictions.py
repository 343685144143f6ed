"""Answers that every run leaves: predictions.npz, and the numbers of every class in metrics.json."""

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from datasets.dataset import Split
from foundation.errors import UserError
from lab.runs.metrics import metrics_of
from lab.runs.predictions import FILE, Predictions, has_predictions, predictions_of, write_predictions
from lab.runs.run import Run
from lab.training.evaluation import measure

REST = {"epochs": 3, "best_epoch": 2, "seconds": 1.0, "images_per_second": 9.0, "params": 1, "macs": 1}


def answered(count=40, classes=7, seed=0, images=None):
    random = np.random.default_rng(seed)
    logits = random.standard_normal((count, classes)).astype("float32")
    return Predictions(logits, random.integers(0, classes, count), tuple(range(count)) if images is None else images)


@pytest.fixture
def run(tmp_path):
    """A run that was measured: val by files, one of whose names is no text, test by rows."""
    run = Run("r", tmp_path / "output", tmp_path / "weights")
    run.output.mkdir(parents=True)
    leave(run, {"val": answered(images=(*(f"val/a/{i}.png" for i in range(39)), "val/b/\udcff.png")), "test": answered(seed=1)})
    return run


def leave(run, predictions):
    measured = {split: measure(found.logits, found.labels) for split, found in predictions.items()}
    run.write_json("metrics.json", REST | measured | {"train": measured["test"]})
    return write_predictions(run, predictions)


@given(seed=st.integers(0, 2**31), classes=st.integers(2, 9), count=st.integers(1, 60))
def test_numbers_of_every_class_are_those_of_scikit_learn(seed, classes, count):
    found = answered(count, classes, seed)
    measured, labels = measure(found.logits, found.labels), np.arange(classes)
    wanted = reference.precision_recall_fscore_support(found.labels, found.answers, labels=labels, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), wanted, strict=True):
        assert [each[name] for each in measured["classes"]] == pytest.approx(values), name
    assert measured["confusion"] == reference.confusion_matrix(found.labels, found.answers, labels=labels).tolist()
    json.dumps(measured)


def test_a_network_of_many_classes_has_no_matrix_of_millions_of_numbers():
    logits = np.eye(300, dtype="float32")
    measured = measure(logits, np.arange(300))
    assert "confusion" not in measured and len(measured["classes"]) == 300


def test_predictions_are_read_as_they_were_written(run):
    for split, wanted in (("val", answered()), ("test", answered(seed=1))):
        found = predictions_of(run, split)
        assert np.array_equal(found.logits, wanted.logits) and found.logits.dtype == np.float32
        assert np.array_equal(found.labels, wanted.labels) and np.array_equal(found.answers, wanted.logits.argmax(1))
    assert predictions_of(run, "test").images == tuple(range(40)) and predictions_of(run, "val").images[-1] == "val/b/\udcff.png"


def test_an_image_keeps_its_identity_where_a_seed_draws_it_into_a_split():
    everything = Split(np.zeros((6, 2, 2, 1), "uint8"), np.arange(6))
    assert everything.identities() == tuple(range(6))
    assert everything.select([4, 1]).select([1]).identities() == (1,)
    files = tuple(f"{i}.png" for i in range(6))
    assert Split(everything.images, everything.labels, files=files).select([5, 0]).identities() == ("5.png", "0.png")


def test_a_run_of_before_says_how_it_gets_predictions(run):
    (run.output / FILE).unlink()
    assert not has_predictions(run)
    with pytest.raises(UserError, match=r"run 'r' has no predictions\.npz: `python evaluate\.py r` writes it"):
        predictions_of(run, "test")


def test_predictions_of_another_measurement_are_refused(run):
    write_predictions(run, {"val": answered(seed=5), "test": answered(seed=6)})
    with pytest.raises(UserError, match=r"other predictions than those that metrics\.json was computed from"):
        predictions_of(run, "test")


def test_a_full_disk_leaves_the_predictions_of_before(run, monkeypatch):
    before = (run.output / FILE).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_predictions(run, {"test": answered(seed=9)})
    assert (run.output / FILE).read_bytes() == before and not list(run.output.glob(".writing-*"))


def repacked(data, compression=zipfile.ZIP_STORED, **members):
    """The archive with other members; one that is None is left out."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()} | {f"{k}.npy": v for k, v in members.items()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, member in content.items():
            if member is not None:
                archive.writestr(name, member)
    return packed.getvalue()


def npy(array, **header):
    """An .npy file whose header may lie."""
    data = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape} | header
    np.lib.format.write_array_header_1_0(data, fields)
    return data.getvalue() + (b"" if array.dtype.hasobject else array.tobytes())


def pickled(array):
    data = io.BytesIO()
    np.save(data, array.astype(object), allow_pickle=True)
    return data.getvalue()


LOGITS = answered(seed=1).logits
LIES = {
    "pickled logits": {"test_logits": pickled(LOGITS)},
    "logits of another type": {"test_logits": npy(LOGITS.astype("float64"))},
    "a claim of a petabyte": {"test_logits": npy(LOGITS, shape=(1 << 45, 7))},
    "a claim beyond 64 bits": {"test_logits": npy(LOGITS, shape=(1 << 70, 7))},
    "fewer logits": {"test_logits": npy(LOGITS[:-1])},
    "no logits": {"test_logits": None},
    "NaN": {"test_logits": npy(np.full_like(LOGITS, np.nan))},
    "one dimension": {"test_logits": npy(LOGITS.ravel())},
    "classes that there are not": {"test_labels": npy(np.full(40, 7))},
    "a class of minus one": {"test_labels": npy(np.full(40, -1))},
    "rows that are alike": {"test_rows": npy(np.zeros(40, "int64"))},
    "fewer rows": {"test_rows": npy(np.arange(39))},
    "files of fewer images": {"test_files": npy(np.frombuffer(b"a\0b", "uint8"))},
    "a header of brackets": {"test_logits": b"\x93NUMPY\x01\x00\x10\x27" + b"[" * 10_000},
    "a header of minus signs": {"test_logits": b"\x93NUMPY\x01\x00\x10\x27" + b"-" * 9_999 + b"1"},
    "no array": {"test_logits": b"no array"},
}


@pytest.mark.parametrize("members", LIES.values(), ids=LIES)
def test_predictions_that_lie_are_one_line(run, members):
    path = run.output / FILE
    path.write_bytes(repacked(path.read_bytes(), **members))
    with pytest.raises(UserError, match=r"predictions\.npz is damaged"):
        predictions_of(run, "test")


def test_predictions_that_would_expand_are_not_expanded(run):
    path = run.output / FILE
    zeros = npy(np.zeros((1 << 20, 7), "float32"))
    path.write_bytes(repacked(path.read_bytes(), zipfile.ZIP_DEFLATED, test_logits=zeros))
    assert path.stat().st_size < len(zeros) / 100
    with pytest.raises(UserError, match="should be stored uncompressed"):
        predictions_of(run, "test")


CONFUSIONS = {
    "not square": [[1, 2]],
    "of other images": [[0] * 7] * 7,
    "in words": "many",
    "of shares": [[0.5] * 7] * 7,
    "negative": [[-1] * 7] * 7,
    "of too many classes": [[0] * 201] * 201,
}


@pytest.mark.parametrize("confusion", CONFUSIONS.values(), ids=CONFUSIONS)
def test_a_confusion_that_no_run_writes_is_one_line(run, confusion):
    metrics = run.read_json("metrics.json")
    assert metrics_of(run)["test"] == metrics["test"]
    metrics["test"]["confusion"] = confusion
    run.write_json("metrics.json", metrics)
    with pytest.raises(UserError, match=r"metrics\.json is damaged: (confusion|classes) of test"):
        metrics_of(run)
