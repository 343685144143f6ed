"""Network of a finished run for export: from pixels to logits, so that nobody can scale images wrongly."""

from dataclasses import dataclass, field

import keras
import numpy as np

import dispatcher
from datasets.samples import FULL_RANGES, ranges_of
from lab.runs.checkpoints import load_best
from lab.runs.contents import classes_of, preprocessing_of
from lab.runs.reliance import temperature_of


@dataclass(frozen=True)
class Contract:
    """Facts that a user of the network must know.

    They are written into the card and, as strings, into every file that can hold them.
    """

    model: str
    architecture: dict  # fields of the architecture that the run overrides
    image_size: int
    class_names: list[str]
    mean: list[float]  # per channel, of pixels scaled to 0..1
    std: list[float]
    # which samples of more than 8 bits become 0 and 255, see `datasets.samples`
    sample_ranges: dict = field(default_factory=FULL_RANGES.copy)
    temperature: float = 1.0  # that divides logits before they become probabilities, fitted on val; 1: none was
    run: str = ""  # id of the run whose weights these are; empty for a run of a version without ids

    @classmethod
    def of(cls, run):
        """Return the Contract of a run. Raises UserError if the run is not finished."""
        run.check_finished()
        found = preprocessing_of(run)
        names = [entry["name"] for entry in classes_of(run)]
        config = run.read_config()
        options, ranges = dispatcher.architecture_options(config), ranges_of(found.get("sample_ranges"))
        size, mean, std = found["image_size"], found["mean"], found["std"]
        return cls(config.model, options, size, names, mean, std, ranges, temperature_of(run), run.id or "")


def load_network(run, contract):
    """Return the network of a run in float32 with its best weights: scaled images `(N, H, W, C)` to logits. Raises UserError."""
    keras.config.set_dtype_policy("float32")
    shape = (contract.image_size, contract.image_size, len(contract.mean))
    network = dispatcher.build_model(contract.model, shape, len(contract.class_names), **contract.architecture)
    load_best(run, network)
    return network


def from_pixels(network, contract):
    """Return the same layers behind the scaling of pixels: images `(N, H, W, C)` uint8 to logits `(N, classes)` float32."""
    std = np.asarray(contract.std)
    scale, shift = 1.0 / (255.0 * std), -np.asarray(contract.mean) / std
    images = keras.Input(network.input_shape[1:], dtype="uint8", name="images")
    scaled = keras.layers.Rescaling(scale.tolist(), shift.tolist(), name="scale")
    return network.rebuilt(lambda layer: layer, images, [scaled])
