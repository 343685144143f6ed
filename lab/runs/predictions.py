"""`predictions.npz`: the logits of val and test from which a run's metrics were computed, and the identity of each image.

The arrays of a split, such as val, are `val_logits` `(N, classes)` float32, `val_labels` `(N,)` int64, and one of `val_files`
(paths below the data set's folder as bytes, separated by zero bytes) and `val_rows` `(N,)` int64 (rows of the data set, where
images have no files). They are stored as they are, so that no file expands to more than it is.
"""

import base64
import hashlib
import io
import os
import zipfile
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from foundation import replicas
from foundation.errors import UserError, first_line
from foundation.files import read_regular, write_whole
from lab.runs.metrics import ROUNDING, metrics_of

FILE = "predictions.npz"
CORRECTNESS = "correct.json"  # in the place of predictions.npz where a run is known by its published record
SPLITS = ("val", "test")
LARGEST = 4 << 30  # bytes of the file: 1,000,000 images of 1,000 classes
KINDS = {"logits": "<f4", "labels": "<i8", "rows": "<i8", "files": "|u1"}


@dataclass(frozen=True)
class Predictions:
    """Logits `(N, classes)` and labels `(N,)` of a split, and of each image its path below the data set's folder, or its row."""

    logits: np.ndarray
    labels: np.ndarray
    images: tuple[str, ...] | tuple[int, ...]

    @cached_property
    def answers(self):
        """The predicted class of each image, `(N,)`."""
        return self.logits.argmax(1)

    @property
    def is_right(self):
        return self.answers == self.labels

    def correctness(self):
        """Return which images are right, in an order that all runs on the same images share."""
        order = sorted(range(len(self.images)), key=self.images.__getitem__)
        digest = hashlib.sha256()
        for i in order:
            digest.update(f"{self.images[i]}\0{self.labels[i]}\0".encode(errors="surrogateescape"))
        return Correctness(digest.hexdigest()[:32], self.is_right[order])

    @classmethod
    def of(cls, logits, split):
        """Return the Predictions of a `datasets.dataset.Split`."""
        return cls(logits.astype("float32"), split.labels, split.identities())


@dataclass(frozen=True)
class Correctness:
    """Which images of a split are right, `(N,)`; those of two runs can be paired if `images`, a digest of them, is equal."""

    images: str
    is_right: np.ndarray

    def record(self):
        """Return what a published record keeps of it: a bit for each image."""
        bits = base64.b64encode(np.packbits(self.is_right).tobytes()).decode()
        return {"images": self.images, "count": len(self.is_right), "bits": bits}

    @classmethod
    def of_record(cls, record):
        """Return the Correctness of a record. Raises ValueError if it is damaged."""
        try:
            count, images = record["count"], record["images"]
            bits = np.unpackbits(np.frombuffer(base64.b64decode(record["bits"], validate=True), "uint8"))
            if not isinstance(images, str) or type(count) is not int or not 0 < count <= len(bits) < count + 8:
                raise ValueError("it should have a bit for each image")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"which images are right can't be read: {error}") from error
        return cls(images, bits[:count].astype(bool))


def write_predictions(run, predictions) -> int:
    """Write {split: Predictions} whole or not at all; return the number of bytes."""
    arrays = {}
    for split, found in predictions.items():
        arrays |= {f"{split}_logits": found.logits.astype("<f4"), f"{split}_labels": found.labels.astype("<i8")}
        if found.images and isinstance(found.images[0], str):
            names = b"\0".join(map(os.fsencode, found.images))
            arrays[f"{split}_files"] = np.frombuffer(names, "|u1")
        else:
            arrays[f"{split}_rows"] = np.array(found.images, "<i8")
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    if not replicas.RANK:
        write_whole(run.output, FILE, packed.getvalue())
    return packed.tell()


def discard_result(run):
    """Remove what a run was measured to be, because it goes back to an earlier epoch."""
    for name in ("metrics.json", FILE):
        (run.output / name).unlink(missing_ok=True)


def discard_evaluations(run):
    """Remove what `evaluate.py` found of a finished run, because it trains on: it would be that of other weights."""
    for name in ("trust.json", "trust.html", "metrics-tta.json", "metrics-average.json"):
        (run.output / name).unlink(missing_ok=True)


def has_predictions(run):
    """Return whether the run has the file: runs that an earlier version measured have none."""
    return (run.output / FILE).is_file()


def predictions_of(run, split) -> Predictions:
    """Return the Predictions of a split. Raises UserError if the file is missing, damaged, or not of the run's metrics."""
    if split not in SPLITS:
        raise UserError(f"predictions are kept of {' and '.join(SPLITS)}, not of {split}")
    path = run.output / FILE
    if not has_predictions(run):
        raise UserError(f"run '{run.name}' has no {FILE}: `python evaluate.py {run.name}` writes it")
    try:
        with zipfile.ZipFile(io.BytesIO(read_regular(path, LARGEST))) as archive:
            found = _split_of(archive, split)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}") from error
    except Exception as error:  # zipfile and numpy raise a dozen kinds for what is no archive of arrays
        raise UserError(f"{path} is damaged: {type(error).__name__}: {first_line(error)}") from error
    measured = metrics_of(run)[split]
    if len(found.labels) != measured["images"] or abs(found.is_right.mean() - measured["accuracy"]) > ROUNDING:
        raise UserError(f"{path} holds other predictions than those that metrics.json was computed from")
    return found


def correctness_of(run) -> Correctness | None:
    """Return which images of test a run gets right; None if it has no predictions. Raises UserError if they are damaged."""
    if has_predictions(run):
        return predictions_of(run, "test").correctness()
    if not (run.output / CORRECTNESS).is_file():
        return None
    try:
        return Correctness.of_record(run.read_json(CORRECTNESS))
    except ValueError as error:
        raise UserError(f"{run.output / CORRECTNESS} is damaged: {error}") from error


def _split_of(archive, split):
    """Return the Predictions of a split in an open archive. Raises ValueError and others for what no run writes."""
    logits, labels = _array(archive, split, "logits", 2), _array(archive, split, "labels", 1)
    count, classes = logits.shape
    if not count or not classes or len(labels) != count:
        raise ValueError(f"{split} should have a label for each row of logits")
    if not np.isfinite(logits).all():
        raise ValueError(f"logits of {split} are not finite")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels of {split} should be from 0 to {classes - 1}")
    if f"{split}_files.npy" in archive.namelist():
        images = tuple(map(os.fsdecode, _array(archive, split, "files", 1).tobytes().split(b"\0")))
    else:
        images = tuple(_array(archive, split, "rows", 1).tolist())
    if len(images) != count or len(set(images)) != count:
        raise ValueError(f"images of {split} should be {count} different ones")
    return Predictions(logits, labels, images)


def _array(archive, split, what, dimensions):
    """Return an array of the archive, without pickle and without trusting the size that its header claims."""
    info = archive.getinfo(f"{split}_{what}.npy")
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"{info.filename} should be stored uncompressed")
    data = io.BytesIO(archive.read(info))
    if np.lib.format.read_magic(data) != (1, 0):
        raise ValueError(f"{info.filename} is of another format than version 1.0")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(data)
    if dtype.str != KINDS[what] or is_fortran or len(shape) != dimensions:
        raise ValueError(f"{info.filename} should be an array of {KINDS[what]} with {dimensions} dimensions")
    values = np.frombuffer(data.getvalue(), dtype, offset=data.tell())
    return values.reshape(shape)  # raises ValueError if the header claims another size
