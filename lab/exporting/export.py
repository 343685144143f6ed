"""From a finished run to `output/<run>/export`: written, re-loaded in its own runtime, compared, and only then published."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np

from datasets.dataset import Split
from foundation.errors import RunFailure, first_line
from foundation.files import temporary_folder
from foundation.sampling import evenly_spaced
from lab.exporting.card import write_card
from lab.exporting.formats import FORMATS, run_module
from lab.exporting.network import Contract, from_pixels, load_network
from lab.exporting.quantised import check_accuracy, val_halves
from lab.exporting.runtimes import BATCH
from lab.training.experiment import load_data

IMAGES = 32  # of the test split, on which an export must agree with the network
LOSS = 1.0  # points of accuracy that a format of 8 bits may lose on val, unless more are allowed


def export(run, formats, allowed_loss=LOSS):
    """Export a run in these formats; return {format: largest difference}. Raises UserError or RunFailure.

    `allowed_loss` are points of accuracy that a format of 8 bits may lose on val. The folder appears by one rename and holds this
    export alone. A format that fails or disagrees is not in it, and is raised as a RunFailure when the others are published.
    """
    contract = Contract.of(run)
    with keras.device("cpu"):
        model = from_pixels(load_network(run, contract), contract)
        dataset = load_data(run)
        check = Check(model, contract, real_images(dataset.test), dataset.val, allowed_loss)
        differences, remarks, faults = {}, {}, []
        with _replacing(run.folder("export")) as folder:
            for name in formats:
                try:
                    differences[name], remarks[name] = check.make(name, folder)
                    _report(name, folder, differences[name], remarks[name])
                except RunFailure as error:
                    _remove(folder / FORMATS[name].file)
                    faults.append(f"{name}: {error}")
            if not differences:
                raise RunFailure(f"nothing is exported: {'; '.join(faults)}")
            write_card(folder, run, contract, differences, remarks)
    print(f"described in {run.output / 'export' / 'MODEL_CARD.md'}")
    if faults:
        raise RunFailure(f"not exported: {'; '.join(faults)}")
    return differences


def real_images(split):
    """Return images of a split, evenly spaced, `(N, H, W, C)` uint8."""
    return np.ascontiguousarray(split.read(evenly_spaced(len(split), IMAGES)))


@dataclass(frozen=True)
class Check:
    """The network that all formats must agree with, and on which images."""

    model: keras.Model  # from pixels to logits
    contract: Contract
    images: np.ndarray
    val: Split
    allowed_loss: float

    def make(self, name, folder):
        """Write one format, run it in a fresh process; return (largest difference, a remark or ""). Raises RunFailure."""
        kind, target = FORMATS[name], folder / FORMATS[name].file
        halves = val_halves(self.val) if kind.has_8_bits else None
        try:
            kind.write(self.model, self.contract, target, *(halves or ())[:1])
        except RunFailure:
            raise
        except Exception as error:  # those of torch.export, of onnx and of Keras have no common parent
            raise RunFailure(f"it can't be written: {type(error).__name__}: {first_line(error)}") from error
        if halves:
            _, images, labels = halves
            logits, found = self.logits(images), computed(name, target, images)
            return _difference(found, logits), check_accuracy(logits, found, labels, self.allowed_loss)
        allowed = kind.tolerance * max(1.0, float(np.abs(self.wanted).max()))
        for backend in kind.backends:
            difference = _difference(computed(name, target, self.images, backend), self.wanted)
            if not difference <= allowed:
                where = f" on {backend}" if len(kind.backends) > 1 else ""
                raise RunFailure(f"its logits differ by up to {difference:.1e}{where} (allowed: {allowed:.1e})")
        return difference, ""

    @cached_property
    def wanted(self):
        """The network's own logits of the images, which all formats but those of 8 bits must give."""
        return self.logits(self.images)

    def logits(self, images):
        """Return the network's own logits."""
        batches = np.array_split(images, -(-len(images) // BATCH))
        return np.concatenate([keras.ops.convert_to_numpy(self.model(batch, training=False)) for batch in batches])


def computed(name, target, images, backend="torch"):
    """Return the logits of an export in its own runtime, a fresh process."""
    with tempfile.TemporaryDirectory() as exchange:
        np.save(f"{exchange}/images.npy", images)
        arguments = (name, target.resolve(), f"{exchange}/images.npy", f"{exchange}/logits.npy")
        run_module("lab.exporting.runtimes", *arguments, backend=backend)
        return np.load(f"{exchange}/logits.npy")


def _difference(found, logits):
    return float(np.abs(found - logits).max()) if found.shape == logits.shape else float("inf")


@contextmanager
def _replacing(target):
    """A folder that takes the target's place in one rename where the block ends well, and is gone where it does not."""
    target = target.resolve()  # other processes, which read and write below it, run elsewhere
    with temporary_folder(target.parent) as work:
        (work / "new").mkdir()
        yield work / "new"
        if target.exists():
            os.rename(target, work / "old")
        os.rename(work / "new", target)


def _remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _report(name, folder, difference, remark):
    path = folder / FORMATS[name].file
    size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")))
    print(f"{name:12} {path.name:20} {size / 2**20:7.2f} MiB   largest difference of logits {difference:.1e}", flush=True)
    if remark:
        print(f"{'':12} {remark}", flush=True)
