"""Image files to classes, by a network of a run or by an exported ONNX file, which needs neither Keras nor torch."""

import csv
import io
import json
from pathlib import Path

import numpy as np

from datasets.image_files import find_image_files, left_out_note
from datasets.images import DECODERS, BrokenImage, read_image
from datasets.samples import ranges_of
from errors import UserError, printable

BATCH = 64


class OnnxNetwork:
    """An ONNX file that export.py wrote: pixels `(N, H, W, C)` uint8 to logits. Raises UserError where it is none."""

    def __init__(self, path):
        import onnxruntime

        try:
            self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common parent
            raise UserError(f"{path} can't be loaded: {error}") from error
        try:
            contract = self.session.get_modelmeta().custom_metadata_map
            self.image_size, self.class_names = int(contract["image_size"]), json.loads(contract["class_names"])
            self.channels = len(json.loads(contract["mean"]))
            self.ranges = ranges_of(json.loads(contract.get("sample_ranges", "null")))
        except (KeyError, ValueError) as error:
            raise UserError(f"{path} names no image size and classes: export.py writes files that do") from error

    def __call__(self, images):
        return self.session.run(None, {self.session.get_inputs()[0].name: images})[0]


class RunNetwork:
    """The network of a finished run: pixels `(N, H, W, C)` uint8 to logits. Raises UserError."""

    def __init__(self, run):
        from exporting.network import Contract, from_pixels, load_network

        contract = Contract.of(run)
        self.image_size, self.class_names, self.channels = contract.image_size, contract.class_names, len(contract.mean)
        self.ranges = contract.sample_ranges
        self.model = from_pixels(load_network(run, contract), contract)

    def __call__(self, images):
        from keras import ops

        return ops.convert_to_numpy(self.model.predict_on_batch(images))


def find_images(paths):
    """(the files named and the image files below the folders named, in order; a note for each folder that holds others too).

    Raises UserError.
    """
    found, notes, kinds = [], [], f"images are {', '.join(DECODERS)}"
    for path in map(Path, paths):
        inside, others = find_image_files(path) if path.is_dir() else ([path], [])
        notes += [left_out_note(path, [(file.relative_to(path), reason) for file, reason in others])] if others else []
        if not inside:
            raise UserError(f"no image file in {path} ({notes[-1] if others else kinds})")
        found += inside
    return found, notes


def classify(network, files, top):
    """Yields (file, [(class, probability), ...], None), most probable first, or (file, None, why it could not be read)."""
    for start in range(0, len(files), BATCH):
        read = [(file, _attempt(file, network)) for file in files[start : start + BATCH]]
        images = [image for _, image in read if not isinstance(image, str)]
        rows = iter(_probabilities(network(np.stack(images))) if images else ())
        for file, image in read:
            if isinstance(image, str):
                yield file, None, image
            else:
                shares = next(rows)
                best = np.argsort(-shares, kind="stable")[:top]
                yield file, [(network.class_names[i], float(shares[i])) for i in best], None


def _attempt(file, network):
    """The image, or why it can't be read."""
    try:
        return read_image(file, network.image_size, network.channels, network.ranges)
    except BrokenImage as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)


def _probabilities(logits):
    shares = np.exp(logits.astype("float64") - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def line(file, classes, width):
    """A file and its classes as text; names from elsewhere can't steer the terminal."""
    return f"{printable(file):{width}}  " + "  ".join(f"{printable(name)} {100 * share:.1f}%" for name, share in classes)


def as_csv(found, top):
    """The classified files as CSV: file, then class and probability from the most probable on."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", *(f"{what}_{i}" for i in range(1, top + 1) for what in ("class", "probability"))])
    for file, classes in found:
        writer.writerow([file, *(value for name, share in classes for value in (name, f"{share:.6f}"))])
    return text.getvalue()
