"""Classified pictures: from which confidence on answers count, copies in a folder for each class, maps beside them.

Nothing here needs Keras unless maps are asked for.
"""

import re

from datasets.image_files import MAP_ENDING
from datasets.images import read_image
from foundation.errors import UserError, printable
from foundation.files import read_regular, write_file

LARGEST = 1 << 30  # bytes of a picture that is copied
LONGEST = 100  # characters of a class's name in a folder's
SHOWN = 200  # pictures on the page of maps


def read_threshold(text, run) -> float:
    """Return the confidence that `--threshold` asks for: a number from 0 to 1, or "trust": the run's own. Raises UserError."""
    if text == "trust":
        if run is None:
            raise UserError("--threshold trust is found in a run's trust.json, give a number for an ONNX file")
        from lab.runs.reliance import threshold_of

        return threshold_of(run)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UserError(f"--threshold is {text}, allowed: a number from 0 to 1, or trust")
    return value


class SortedFolder:
    """Copies of pictures, below a folder by class. A copy that is there already stays; another file of its name is kept too."""

    def __init__(self, folder, sources):
        """Raise a UserError if the folder lies within one of the folders that pictures are read from."""
        self.folder = folder
        for source in sources:
            if source.is_dir() and source.resolve() in (folder.resolve(), *folder.resolve().parents):
                raise UserError(f"--sort-into {folder} lies in {source}, which is read: the copies would be read next time")

    def put(self, file, name):
        """Copy a picture to the folder of a class, or of REFUSED; return the copy's path. Raises UserError."""
        try:
            data = read_regular(file, LARGEST)
        except OSError as error:
            raise UserError(f"{printable(file)} can't be copied: {error.strerror or error}") from error
        folder, number = self.folder / folder_name(name), 1
        while True:
            target = folder / (file.name if number == 1 else f"{file.stem}-{number}{file.suffix}")
            if not target.exists():
                write_file(target, data)
                return target
            if target.stat().st_size == len(data) and target.read_bytes() == data:
                return target
            number += 1


def folder_name(name) -> str:
    """Return a class's name as that of a folder, which can't lead elsewhere."""
    return re.sub(r"[/\\\0]|^\.+", "_", name)[:LONGEST].strip() or "_"


class Maps:
    """Maps of pictures towards the class that a run's network takes them for (Grad-CAM of the last feature map)."""

    def __init__(self, network):
        """`network` is a `lab.exporting.predict.RunNetwork`."""
        import dispatcher
        from lab.explanations.layers import choose_layers

        self.network, self.contract = network, network.contract
        self.layers = choose_layers(network.network)
        architecture = dispatcher.architecture_of(self.contract.model, **self.contract.architecture)
        self.is_symmetric = architecture.padding == "symmetric"
        self.examples = []

    def of(self, file, name):
        """Return the picture `(H, W, 3)` uint8 as the network gets it, and its map `(H, W)` in 0..1 towards a class."""
        import numpy as np

        from lab.explanations.maps import class_maps, enlarged

        image = read_image(file, self.network.image_size, self.network.channels, self.network.ranges)
        scaled = (image / 255.0 - np.asarray(self.contract.mean)) / np.asarray(self.contract.std)
        labels = np.array([self.network.class_names.index(name)])
        found = class_maps(
            self.network.network, scaled[None].astype("float32"), labels, self.layers, "grad-cam", self.is_symmetric
        )
        heat = enlarged(found, len(image), self.is_symmetric)[0]
        return (image if image.shape[-1] == 3 else image.repeat(3, 2)), heat

    def write_beside(self, copy, file, name):
        """Write the map of a picture beside its copy: `robin.jpg.map.png` of `robin.jpg`."""
        from lab.explanations.drawing import overlay, png

        write_file(copy.with_name(copy.name + MAP_ENDING), png(overlay(*self.of(file, name))))

    def show(self, file, classes, refusal):
        """Keep a picture for the page, which has room for SHOWN."""
        from lab.explanations.examples import Answer, Example

        if len(self.examples) < SHOWN:
            image, heat = self.of(file, classes[0][0])
            shown = f"{file}, refused: {refusal}" if refusal else str(file)
            answer = Answer(self.network.run.name, *classes[0], true_probability=None, towards=classes[0][0], map=heat)
            self.examples.append(Example(shown, image, None, (answer,)))

    def write_page(self):
        """Write the page of the pictures that were kept, each beside its map; return its path."""
        from foundation.files import write_whole
        from lab.explanations.pages import pictures_page

        folder = self.network.run.folder("explain")
        folder.mkdir(parents=True, exist_ok=True)
        explanation = f"Grad-CAM of the last feature map, towards the predicted class. The first {len(self.examples)} pictures."
        page = pictures_page(self.examples, [self.network], explanation)
        write_whole(folder, "predicted.html", page.encode())
        return folder / "predicted.html"
