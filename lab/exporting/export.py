"""From a finished run to `output/<run>/export`: written, re-loaded in its own runtime, compared, and only then published."""

import os
import shutil
import tempfile
from contextlib import contextmanager

import keras
import numpy as np

from datasets.access import looking
from foundation.errors import RunFailure, first_line
from foundation.files import temporary_folder
from lab.exporting.card import write_card
from lab.exporting.formats import FORMATS, run_module
from lab.exporting.network import Contract, from_pixels, load_network
from lab.training.fitting import load_dataset

IMAGES = 32  # of the test split, on which an export must agree with the network
TOLERANCE = 1e-4  # largest difference of logits, times the largest logit where that is above 1


def export(run, formats):
    """Exports a run in these formats; returns {format: largest difference}. Raises UserError or RunFailure.

    The folder appears by one rename and holds this export alone. A format that fails or disagrees is not in it, and is raised
    as a RunFailure when the others are published.
    """
    contract = Contract.of(run)
    with keras.device("cpu"):
        model = from_pixels(load_network(run, contract), contract)
        images = real_images(run)
        logits = keras.ops.convert_to_numpy(model(images, training=False))
        differences, faults = {}, []
        with _replacing(run.folder("export")) as folder:
            for name in formats:
                try:
                    differences[name] = make(name, model, contract, folder, images, logits)
                    _report(name, folder, differences[name])
                except RunFailure as error:
                    _remove(folder / FORMATS[name].file)
                    faults.append(f"{name}: {error}")
            if not differences:
                raise RunFailure(f"nothing is exported: {'; '.join(faults)}")
            write_card(folder, run, contract, differences)
    print(f"described in {run.output / 'export' / 'MODEL_CARD.md'}")
    if faults:
        raise RunFailure(f"not exported: {'; '.join(faults)}")
    return differences


def real_images(run):
    """Images of the test split, evenly spaced, `(N, H, W, C)` uint8."""
    with looking():
        test = load_dataset(run.read_config()).test
    return np.ascontiguousarray(test.read(np.unique(np.linspace(0, len(test) - 1, IMAGES).astype(int))))


def make(name, model, contract, folder, images, logits):
    """Writes one format, runs it in a fresh process on the images and returns its largest difference. Raises RunFailure."""
    target = folder / FORMATS[name].file
    try:
        FORMATS[name].write(model, contract, target)
    except RunFailure:
        raise
    except Exception as error:  # those of torch.export, of onnx and of Keras have no common parent
        raise RunFailure(f"it can't be written: {type(error).__name__}: {first_line(error)}") from error
    with tempfile.TemporaryDirectory() as exchange:
        np.save(f"{exchange}/images.npy", images)
        run_module("lab.exporting.runtimes", name, target.resolve(), f"{exchange}/images.npy", f"{exchange}/logits.npy")
        found = np.load(f"{exchange}/logits.npy")
    difference = float(np.abs(found - logits).max()) if found.shape == logits.shape else float("inf")
    allowed = TOLERANCE * max(1.0, float(np.abs(logits).max()))
    if not difference <= allowed:
        raise RunFailure(f"its logits differ by up to {difference:.1e} (allowed: {allowed:.1e})")
    return difference


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


def _report(name, folder, difference):
    path = folder / FORMATS[name].file
    size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")))
    print(f"{name:12} {path.name:20} {size / 2**20:7.2f} MiB   largest difference of logits {difference:.1e}", flush=True)
