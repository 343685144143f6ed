"""Image files to classes, by a network of a run or by an exported ONNX file, which needs neither Keras nor torch."""

from pathlib import Path

import numpy as np

from datasets.image_files import find_image_files, left_out_note
from datasets.images import DECODERS, BrokenImage, read_image
from datasets.samples import ranges_of
from foundation.errors import UserError, first_line, printable
from foundation.escaping import csv_text
from foundation.files import check_regular, parse_json
from foundation.probabilities import softmax
from lab.runs.contents import fault_of_scaling
from lab.runs.reliance import fault_of_temperature, temperature_of

BATCH = 64
LARGEST = 2 << 30  # bytes of an ONNX file, as its format allows


class OnnxNetwork:
    """An ONNX file that export.py wrote: pixels `(N, H, W, C)` uint8 to logits. Raises UserError where it is none."""

    def __init__(self, path):
        import onnxruntime

        try:
            check_regular(path, LARGEST)  # where it is none, onnxruntime may wait for ever
            self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common parent
            raise UserError(f"{path} can't be loaded: {first_line(error)}") from error
        self.path = path
        self.image_size, self.class_names, self.channels = self._contract()

    def _contract(self):
        """(image size, class names, channels) as the metadata says and the network agrees. Raises UserError."""
        metadata = self.session.get_modelmeta().custom_metadata_map
        try:
            size, names, mean, std = (parse_json(metadata[name]) for name in ("image_size", "class_names", "mean", "std"))
            self.ranges = ranges_of(parse_json(metadata.get("sample_ranges", "null")))
            self.temperature = parse_json(metadata.get("temperature", "1.0"))
        except (KeyError, ValueError) as error:
            raise UserError(f"{self.path} names no image size and classes: export.py writes files that do") from error
        fault = fault_of_scaling(size, mean, std)
        if not fault and (wrong := fault_of_temperature(self.temperature)):
            fault = f"temperature {wrong}"
        if not fault and not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            fault = "class_names should be names"
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        if not fault and not (len(inputs) == 1 and list(inputs[0].shape[1:]) == [size, size, len(mean)]):
            fault = "its input is not of the size that its metadata names"
        if not fault and not (len(outputs) == 1 and list(outputs[0].shape[1:]) == [len(names)]):
            fault = "its output is not of the classes that its metadata names"
        if fault:
            raise UserError(f"{self.path} is no file of export.py: {fault}")
        return size, names, len(mean)

    def __call__(self, images):
        try:
            return self.session.run(None, {self.session.get_inputs()[0].name: images})[0]
        except Exception as error:  # as above
            raise UserError(f"{self.path} can't be computed: {first_line(error)}") from error


class RunNetwork:
    """The network of a finished run: pixels `(N, H, W, C)` uint8 to logits. Raises UserError."""

    def __init__(self, run):
        from lab.exporting.network import Contract, from_pixels, load_network

        contract = Contract.of(run)
        self.image_size, self.class_names, self.channels = contract.image_size, contract.class_names, len(contract.mean)
        self.ranges = contract.sample_ranges
        self.run, self.contract, self.temperature = run, contract, temperature_of(run)
        self.network = load_network(run, contract)  # from scaled images
        self.model = from_pixels(self.network, contract)

    def __call__(self, images):
        from keras import ops

        return ops.convert_to_numpy(self.model.predict_on_batch(images))


def find_images(paths):
    """(the files named and the image files below the folders named, in order; a note for each folder that holds others too).

    Raises UserError for a folder without any, and where no file is there at all.
    """
    found, notes, kinds = [], [], f"images are {', '.join(DECODERS)}"
    for path in map(Path, paths):
        inside, others = find_image_files(path) if path.is_dir() else ([path], [])
        notes += [left_out_note(path, [(file.relative_to(path), reason) for file, reason in others])] if others else []
        if not inside:
            raise UserError(f"no image file in {path} ({notes[-1] if others else kinds})")
        found += inside
    if not any(file.exists() for file in found):
        raise UserError(f"there is no file {', '.join(map(printable, found[:3]))}{' ...' * (len(found) > 3)}")
    return found, notes


def classify(network, files, top):
    """Yield (file, [(class, probability), ...], None), most probable first, or (file, None, why it could not be read).

    Probabilities are those of logits divided by the network's temperature, if it has one.
    """
    temperature = getattr(network, "temperature", 1.0)
    for start in range(0, len(files), BATCH):
        read = [(file, _attempt(file, network)) for file in files[start : start + BATCH]]
        images = [image for _, image in read if not isinstance(image, str)]
        rows = iter(_probabilities(network(np.stack(images)), temperature) if images else ())
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


def _probabilities(logits, temperature):
    if not np.isfinite(logits).all():
        raise UserError("the network's outputs are not finite: its weights are damaged")
    return softmax(logits / temperature)


def line(file, classes, width) -> str:
    """A file and its classes as text; names from elsewhere can't steer the terminal."""
    return f"{printable(file):{width}}  " + "  ".join(f"{printable(name)} {100 * share:.1f}%" for name, share in classes)


def as_csv(found, top, refusals=None) -> bytes:
    """Return the classified files as a CSV file's bytes: file, then class and probability from the most probable on.

    `refusals` is {file: why its answer is refused}: then a last column says so, also of files that have no classes. A name
    keeps its own bytes, also where they are not UTF-8.
    """
    rows = [["file", *(f"{what}_{i}" for i in range(1, top + 1) for what in ("class", "probability"))]]
    for file, classes in found:
        answers = [value for name, share in classes for value in (name, f"{share:.6f}")]
        rows.append([str(file), *answers])
        if refusals is not None:
            rows[-1] += [""] * (2 * top - len(answers)) + [refusals.get(file, "")]
    if refusals is not None:
        rows[0].append("refused")
    return csv_text(rows).encode(errors="surrogateescape")
