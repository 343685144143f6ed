"""A trained network, with what is asked of it."""

from dataclasses import dataclass

import keras
import numpy as np
from scipy.special import softmax

import dispatcher
from datasets.batches import Batches, at_once
from datasets.dataset import Dataset
from errors import UserError, unknown
from explanations.layers import choose_layers
from explanations.maps import METHODS, class_maps, enlarged
from settings import Config
from training.contents import metrics_of
from training.evaluation import predict
from training.experiment import load_trained
from training.run import Run

MAPPED = 64  # images at once, at most: a map keeps what a gradient needs, a prediction does not


@dataclass(frozen=True)
class Network:
    """The best weights on val of a run, and how its maps are made."""

    run: Run
    config: Config
    dataset: Dataset
    model: keras.Model
    layer_names: tuple[str, ...] | None  # None: what the global pooling reads
    method: str  # one of METHODS

    @classmethod
    def of(cls, run, layer_names=None, method="grad-cam"):
        """Raises UserError for a run, layers or a method that there are not."""
        if method not in METHODS:
            raise unknown("method", method, METHODS)
        dataset, model, _ = load_trained(run)
        network = cls(run, run.read_config(), dataset, model, layer_names, method)
        choose_layers(model, layer_names)
        return network

    @property
    def layers(self):
        return choose_layers(self.model, self.layer_names)

    def probabilities(self, split):
        """Of every class for every image of a split, `(N, classes)`."""
        return softmax(predict(self.model, Batches(self.dataset, split)).astype("float64"), axis=1)

    @property
    def is_symmetric(self):
        """How convolutions with a stride are padded, which decides where features look."""
        options = dispatcher.architecture_options(self.config)
        return dispatcher.architecture_of(self.config.model, **options).padding == "symmetric"

    def maps(self, split, classes):
        """Of every image of a split towards its class, `(N, H, W)` in 0..1 at the images' size; `classes` are `(N,)` labels."""
        count = at_once(self.dataset.image_shape, MAPPED)
        batches = Batches(self.dataset, split, count)
        parts = np.split(classes, range(count, len(classes), count))
        pairs = ((batches[i][0], part) for i, part in enumerate(parts))
        settings = self.layers, self.method, self.is_symmetric
        maps = np.concatenate([class_maps(self.model, images, part, *settings) for images, part in pairs])
        return enlarged(maps, self.dataset.image_shape[0], self.is_symmetric)


def networks_of(names, output_dir, weights_dir, layer_names=None, method="grad-cam"):
    """The Networks of runs that answer the same question. Raises UserError where they have other classes or other val images."""
    networks = []
    for name in names:
        network = Network.of(_run_of(name, output_dir, weights_dir), layer_names, method)
        first = (networks or [network])[0]
        if network.dataset.fingerprint != first.dataset.fingerprint:
            raise UserError(
                f"runs '{first.run.name}' and '{network.run.name}' can't stand side by side: they differ in data set, image size "
                "or split (its seed and val fraction)"
            )
        networks.append(network)
    return networks


def _run_of(name, output_dir, weights_dir):
    """The run of a name; of a shell wildcard, the finished one with the best accuracy on val. Raises UserError."""
    if not set(name) & set("*?["):
        return Run.find(name, output_dir, weights_dir)
    runs = Run.finished(name, output_dir, weights_dir)
    if not runs:
        raise UserError(f"no finished run in {output_dir} is called like '{name}'")
    best = max(runs, key=lambda run: metrics_of(run)["val"]["accuracy"])
    print(f"best on val of {len(runs)}: {best.name}")
    return best
