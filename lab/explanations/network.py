"""A trained network with its probabilities and maps."""

from collections import Counter
from dataclasses import dataclass

import keras
import numpy as np

import dispatcher
from datasets.batches import Batches, at_once
from datasets.dataset import Dataset
from foundation.errors import UserError
from foundation.probabilities import softmax
from foundation.settings import Config
from lab.explanations.choice import check_method
from lab.explanations.layers import choose_layers
from lab.explanations.maps import class_maps, enlarged
from lab.runs.run import Run
from lab.training.evaluation import predict
from lab.training.experiment import load_trained

MAPPED = 64  # maximum number of images at once; a map keeps tensors for a gradient, a prediction does not


@dataclass(frozen=True)
class Network:
    """Network of a run with its best weights on val, and the settings of its maps."""

    run: Run
    config: Config
    dataset: Dataset
    model: keras.Model
    layer_names: tuple[str, ...] | None  # None: the input of the global pooling
    method: str  # one of lab.explanations.choice.METHODS

    @classmethod
    def of(cls, run, layer_names=None, method="grad-cam"):
        """Return the Network of a run. Raises UserError for a run, layers or a method that does not exist."""
        check_method(method)
        dataset, model, _ = load_trained(run)
        network = cls(run, run.read_config(), dataset, model, layer_names, method)
        choose_layers(model, layer_names)
        return network

    @property
    def layers(self):
        return choose_layers(self.model, self.layer_names)

    def probabilities(self, split):
        """Return the probability of every class for every image of a split, `(N, classes)`."""
        return softmax(predict(self.model, Batches(self.dataset, split)))

    @property
    def is_symmetric(self) -> bool:
        """True if convolutions with a stride pad both sides alike, which decides where features look."""
        options = dispatcher.architecture_options(self.config)
        return dispatcher.architecture_of(self.config.model, **options).padding == "symmetric"

    def maps(self, split, classes):
        """Return the map of every image of a split towards its class, `(N, H, W)` in 0..1 at the images' size.

        `classes` are the labels `(N,)`.
        """
        count = at_once(self.dataset.image_shape, MAPPED)
        batches = Batches(self.dataset, split, count)
        parts = np.split(classes, range(count, len(classes), count))
        pairs = ((batches[i][0], part) for i, part in enumerate(parts))
        settings = self.layers, self.method, self.is_symmetric
        maps = np.concatenate([class_maps(self.model, images, part, *settings) for images, part in pairs])
        return enlarged(maps, self.dataset.image_shape[0], self.is_symmetric)


def networks_of(runs, layer_names=None, method="grad-cam"):
    """Return the Networks of runs that can be compared. Raises UserError if their data set, image size or split differs."""
    networks, names = [], Counter(run.name for run in runs)
    if alike := [name for name, count in names.items() if count > 1]:
        raise UserError(f"two runs are called '{alike[0]}': explanations tell runs apart by their names")
    for run in runs:
        network = Network.of(run, layer_names, method)
        first = (networks or [network])[0]
        if network.dataset.fingerprint != first.dataset.fingerprint:
            raise UserError(
                f"runs '{first.run.name}' and '{network.run.name}' can't stand side by side: they differ in data set, image size "
                "or split (its seed and val fraction)"
            )
        networks.append(network)
    return networks
