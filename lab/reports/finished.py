"""A finished run for its readers: its records, and its data and trained network, which are loaded when asked for."""

from functools import cached_property

from foundation.errors import UserError
from foundation.paths import typed_path
from foundation.randomness import generator
from lab.runs.contents import epochs_of, flow_of
from lab.runs.metrics import metrics_of
from lab.runs.predictions import Predictions, has_predictions, predictions_of
from lab.runs.run import Run


class Finished:
    """Content of a finished run, each part read once; figures call it `name`. Raises UserError for a run that is not finished.

    A live run may still be training: only its config and history are sure to exist.
    """

    def __init__(self, run, name, is_live=False):
        self.run, self.name = run, name
        if not is_live:
            run.check_finished()
        self.config = run.read_config()
        self._logits = {}

    @cached_property
    def history(self):
        return epochs_of(self.run)

    @cached_property
    def metrics(self):
        return metrics_of(self.run)

    @cached_property
    def speed(self):
        """Images per second of every epoch; None for a run of a version that did not record them."""
        return epochs_of(self.run, "speed.json", ("images_per_second",)) if (self.run.output / "speed.json").is_file() else None

    @cached_property
    def flow(self):
        """Gradient norms, weight norms and update ratios per layer and epoch. Raises UserError if none were recorded."""
        if not (self.run.output / "flow.json").is_file():
            raise UserError(f"run '{self.name}' recorded no gradients: train one with --track-gradients")
        return flow_of(self.run)

    @cached_property
    def _trained(self):
        from lab.training.experiment import load_trained  # which imports Keras; records are read without

        return load_trained(self.run, self.dataset)

    @cached_property
    def dataset(self):
        from lab.training.experiment import load_data

        return load_data(self.run)

    @property
    def model(self):
        """The network with the weights of the best epoch on val."""
        return self._trained[1]

    def logits(self, split):
        """Return the logits of every image of a split, in order, `(N, classes)`."""
        from datasets.batches import Batches
        from lab.training.evaluation import predict

        if split not in self._logits:
            self._logits[split] = predict(self.model, Batches(self.dataset, getattr(self.dataset, split)))
        return self._logits[split]

    def predictions(self, split) -> Predictions:
        """Return the Predictions of val or test that the run left; of a run of before, those of its network now."""
        if has_predictions(self.run) or split not in ("val", "test"):
            return predictions_of(self.run, split)
        return Predictions.of(self.logits(split), getattr(self.dataset, split))

    def images_of(self, split, identities):
        """Return the images `(n, H, W, C)` uint8 of these identities. Raises UserError if the data set no longer has them."""
        found = getattr(self.dataset, split)
        places, labels = {image: i for i, image in enumerate(found.identities())}, dict(self._labels_of(split))
        chosen = [places.get(image) for image in identities]
        if any(place is None or found.labels[place] != labels[image] for image, place in zip(identities, chosen, strict=True)):
            raise UserError(
                f"the content of data set '{self.dataset.name}' has changed since run '{self.name}' was trained on it"
            )
        return found.read(chosen)

    def _labels_of(self, split):
        predictions = self.predictions(split)
        return zip(predictions.images, predictions.labels, strict=True)

    def labels(self, split):
        return getattr(self.dataset, split).labels

    def sample(self, options):
        """Return (batches, labels) of at most `options.images` images of the split.

        The seed draws the images, the same for all runs.
        """
        from datasets.batches import Batches

        split = getattr(self.dataset, options.split)
        if len(split) > options.images:
            drawn = generator(options.seed, "images looked at").permutation(len(split))[: options.images]
            split = split.select(sorted(drawn))
        return Batches(self.dataset, split), split.labels


def find_finished(names, output_dir, weights_dir=None, is_live=False):
    """Return the finished (or also live) runs of these names, each once. Raises UserError.

    A name is that of a run or a study, or the path of one.
    """
    found = {}
    for name in names:
        for run in _of_study(name, output_dir, weights_dir) or [Run.find(name, output_dir, weights_dir)]:
            found.setdefault(run.output.resolve(), run)
    return told_apart(list(found.values()), is_live)


def told_apart(runs, is_live=False):
    """Return runs as Finished. Runs of one name in different folders are named by as much of their paths as tells them apart."""
    paths = [run.output.absolute() for run in runs]
    return [Finished(run, _distinct_name(path, paths), is_live) for run, path in zip(runs, paths, strict=True)]


def _distinct_name(path, paths):
    alike = [other.parts for other in paths if other != path and other.name == path.name]
    depth = 1
    while any(parts[-depth:] == path.parts[-depth:] for parts in alike):
        depth += 1
    return "/".join(path.parts[-depth:])


def _of_study(name, output_dir, weights_dir):
    """Return the finished runs of a study; none if the name is not a study's."""
    for folder in (typed_path(output_dir) / "studies" / name / "runs", typed_path(name) / "runs"):
        if finished := Run.finished("*", folder, weights_dir):
            return finished
    return []
