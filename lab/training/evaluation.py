"""Evaluation of a network on whole splits: loss, accuracy, F1, and which classes are confused."""

import numpy as np
from keras import ops
from scipy import stats

from datasets.batches import Batches
from foundation import replicas
from foundation.errors import UserError
from foundation.grammar import agreeing, counted
from lab.runs.metrics import MOST_COUNTED, ClassMetrics, Confusion, SplitMetrics


def measure(logits, labels) -> SplitMetrics:
    """Return the metrics of logits `(N, classes)` against labels `(N,)`.

    Loss is the mean cross-entropy in nats. F1 is counted from the confusion matrix of the whole split; in single-label problems
    micro F1 equals accuracy. Macro F1 is the mean over the classes that are in the split or were predicted, as in scikit-learn.
    `absent_classes` are the labels without images in the split, if there are any. `confusion` is left out for many classes.
    """
    confusion = confusion_matrix(logits, labels)
    hits, rows, columns = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    classes = measure_classes(confusion)
    f1 = np.array([found["f1"] for found in classes])[rows + columns > 0]
    metrics: SplitMetrics = {
        "loss": float(cross_entropy(logits, labels).mean()),
        "accuracy": float(hits.sum() / len(labels)),
        "f1_micro": float(2 * hits.sum() / (rows.sum() + columns.sum())),
        "f1_macro": float(f1.mean()),
        "images": len(labels),
    }
    if logits.shape[1] > 5:
        # A class is among the top five if fewer than five others have a logit that is not smaller. Equal logits and NaN count
        # against the network: otherwise a network with the same logit for all classes would always be right.
        others = (~(logits < np.take_along_axis(logits, labels[:, None], 1))).sum(1) - 1
        metrics["top5_accuracy"] = float((others < 5).mean())
    if not rows.all():
        metrics["absent_classes"] = np.flatnonzero(rows == 0).tolist()
    metrics["classes"] = classes
    if len(classes) <= MOST_COUNTED:
        metrics["confusion"] = confusion.tolist()
    return metrics


def measure_classes(confusion) -> list[ClassMetrics]:
    """Return precision, recall, F1 and support of each class of a confusion matrix, by label; 0 where a share is of nothing."""
    hits, rows, columns = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    shares = (hits, columns), (hits, rows), (2 * hits, rows + columns)
    found = zip(*((part / np.maximum(whole, 1)).tolist() for part, whole in shares), rows.tolist(), strict=True)
    return [{"precision": precision, "recall": recall, "f1": f1, "support": support} for precision, recall, f1, support in found]


def measure_without_shared(logits, dataset) -> SplitMetrics | None:
    """Return metrics on the images of test that neither train nor val holds; None if no image is shared, or all are."""
    rest = ~dataset.overlap.is_shared
    return measure(logits[rest], dataset.test.labels[rest]) if 0 < rest.sum() < len(rest) else None


def read_overlap(run):
    """Return the content of a run's `overlap.json` on images that its splits share; None if its version did not write it."""
    return run.read_json("overlap.json") if (run.output / "overlap.json").is_file() else None


def describe_overlap(record, metrics) -> str:
    """Return a sentence on what splits share.

    `record` is the content of a run's `overlap.json` (None: missing), `metrics` that of `metrics.json`. Raises UserError.
    """
    if record is None:
        return "Whether the splits share images was not recorded; `python evaluate.py` finds out."
    try:
        found = {tuple(pair.split(" in ")): count for pair, count in record["shared"].items() if count}
        if not found:
            return "No image of a split is in another, compared by decoded pixels."
        pairs = [
            f"{counted(count, 'image')} of {one} {agreeing(count, 'is', 'are')} in {other}"
            for (one, other), count in found.items()
        ]
        accuracy = f"{100 * metrics['test']['accuracy']:.2f} %"
        text = f"The splits share images: {', '.join(pairs)}. Test accuracy is {accuracy} with them"
        rest = record.get("test_without_shared")
        if rest:
            return f"{text}, {100 * rest['accuracy']:.2f} % on the {rest['images']:,} test images that no other split holds."
        held = sum(record["shared"][pair] for pair in ("test in train", "test in val"))
        return f"{text}{', and no image of test is in test alone' if held else ''}."
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"overlap.json is damaged: {error!r}") from error


def accuracy_interval(accuracy, images) -> tuple[float, float]:
    """Return the 95 % interval (Wilson 1927) of an accuracy measured on so many images, both in 0..1.

    Other images of the same kind might give an accuracy in this interval.
    """
    interval = stats.binomtest(round(accuracy * images), images).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def cross_entropy(logits, labels):
    """Return the cross-entropy of every image, `(N,)`."""
    logits = logits.astype("float64")
    top = logits.max(1)
    return top + np.log(np.exp(logits - top[:, None]).sum(1)) - logits[np.arange(len(labels)), labels]


def confusion_matrix(logits, labels):
    """Return counts `(classes, classes)`: rows are the true classes, columns the predicted ones."""
    classes = logits.shape[1]
    return np.bincount(labels * classes + logits.argmax(1), minlength=classes**2).reshape(classes, classes)


def most_confused(confusion, class_names, count=10) -> list[Confusion]:
    """Return the pairs of classes confused most often, as dicts of true, predicted, images and share of the true class."""
    wrong = confusion - np.diag(np.diag(confusion))
    pairs = np.dstack(np.unravel_index(np.argsort(-wrong, axis=None, kind="stable")[:count], wrong.shape))[0]
    return [
        {
            "true": class_names[true],
            "predicted": class_names[predicted],
            "images": int(wrong[true, predicted]),
            "share": float(wrong[true, predicted] / confusion[true].sum()),
        }
        for true, predicted in pairs
        if wrong[true, predicted]
    ]


def share_of_batches(dataset, split) -> Batches:
    """Return the batches by which this process measures a split: all of them if it is the only process. Raises UserError."""
    if len(split) < replicas.NUM_SHARDS:
        raise UserError(f"a split has {counted(len(split), 'image')} for {replicas.NUM_SHARDS} processes: start fewer")
    if replicas.NUM_SHARDS > 1:
        split = split.select(np.arange(len(split))[replicas.share_of(len(split))])
    return Batches(dataset, split)


def predict(model, batches):
    """Return the logits of every image, in order, `(N, classes)` float32. Raises UserError if one is not finite."""
    images = (replicas.readable(batches[i][0]) for i in range(len(batches)))
    logits = np.concatenate([ops.convert_to_numpy(model.predict_on_batch(batch)) for batch in images])
    if not np.isfinite(logits).all():
        raise UserError("the network's outputs are not finite: its weights are damaged, or its training diverged")
    return logits
