"""Everything that `evaluate.py RUN --trust` measures of a finished run, as the record of `trust.json`."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import product

import numpy as np

from datasets.batches import Batches, at_once
from foundation.sampling import evenly_spaced
from lab.reports.calibration import calibrate
from lab.reports.statistics import CONFIDENCE, exact_interval
from lab.runs.environment import typed_command
from lab.training.evaluation import confusion_matrix, cross_entropy, measure_classes, predict
from lab.trust.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from lab.trust.data_checks import places_of_sample
from lab.trust.selective import ERROR, answers_above, confidence_of, curve_of, threshold_for, threshold_interval
from lab.trust.temperature import fit_temperature
from lab.trust.unlike import area_of, as_split, images_unlike

SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)  # of images answered, in the record
POINTS = 200  # of a curve that is recorded
IMAGES, FEWEST = 1000, 100  # of test that are corrupted; fewer of large images
PIXELS = IMAGES * 64 * 64
TOGETHER = 128  # images of 64x64 that are predicted at once, at most: what a layer makes of more leaves a processor's cache


def measure_trust(run, unlike, tell=print):
    """Return the record of a `lab.reports.finished.Finished` run; `unlike` are names of data sets that show none of its classes.

    The temperature and the threshold are chosen on val. What is said of them is measured on test.
    """
    tell("temperature and threshold ...")
    val = run.predictions("val")
    temperature = fit_temperature(val.logits, val.labels)
    threshold = _threshold(run, temperature.value)
    record = {"run": run.name, "id": run.run.id, "command": typed_command()}
    record["temperature"] = asdict(temperature) | {"fitted_on": "val", "images": len(val.labels)}
    record["calibration"] = {split: calibration_of(run, split, temperature.value) for split in ("val", "test")}
    record["classes"] = classes_of_test(run)
    record["selective"] = {"threshold": threshold} | _answered(run, temperature.value, threshold["value"])
    record["unlike"] = []
    for name in unlike:
        tell(f"pictures of no class: {name} ...")
        record["unlike"].append(_unlike(run, name, temperature.value, threshold["value"]))
    record["corruptions"] = _corruptions(run, tell)
    return record


def calibration_of(run, split, temperature):
    """Return expected calibration error and cross-entropy of a split before and after temperature scaling."""
    found = run.predictions(split)
    return {
        when: {"ece": calibrate(logits, found.labels).error, "loss": float(cross_entropy(logits, found.labels).mean())}
        for when, logits in (("before", found.logits), ("after", found.logits / temperature))
    }


def classes_of_test(run):
    """Return the classes of test, each with an exact 95 % interval of its recall, and the worst of them.

    The worst is named after looking at all classes, so its interval holds for all of them at once (Bonferroni).
    """
    test = run.predictions("test")
    confusion = confusion_matrix(test.logits, test.labels)
    rows = []
    for label, found in enumerate(measure_classes(confusion)):
        interval = exact_interval(found["recall"], found["support"]) if found["support"] else None
        rows.append({"name": run.dataset.class_names[label], "recall_interval": interval} | found)
    present = [row for row in rows if row["support"]]
    worst = min(present, key=lambda row: (row["recall"], row["name"]))
    interval = exact_interval(worst["recall"], worst["support"], _confidence_of_each(len(present)))
    found = {name: worst[name] for name in ("name", "recall", "support")}
    return {"split": "test", "rows": rows, "worst": found | {"recall_interval_of_all": interval}}


def _threshold(run, temperature):
    confidence, is_right = answers_of(run, "val", temperature)
    found = {"value": threshold_for(confidence, is_right), "error": ERROR, "chosen_on": "val", "images": len(confidence)}
    return found | {"interval": threshold_interval(confidence, is_right)}


def answers_of(run, split, temperature):
    """Return the confidence of each image of a split, and whether its answer is right, both `(N,)`."""
    found = run.predictions(split)
    return confidence_of(found.logits, temperature), found.is_right


def _answered(run, temperature, threshold):
    found = {}
    for split in ("val", "test"):
        curve = curve_of(*answers_of(run, split, temperature))
        shown = evenly_spaced(len(curve.answered), POINTS)
        found[split] = {
            "area": curve.area,
            "accuracy_at": {f"{share:g}": curve.accuracy_at(share) for share in SHARES},
            "curve": {"answered": curve.answered[shown].tolist(), "accuracy": curve.accuracy[shown].tolist()},
        }
    at = None if threshold is None else {"split": "test"} | answers_above(*answers_of(run, "test", temperature), threshold)
    return found | {"at_threshold": at}


def _unlike(run, name, temperature, threshold):
    images = images_unlike(name, run.config, run.dataset.image_shape)
    others = confidence_of(_predict(run, images), temperature)
    known, _ = answers_of(run, "test", temperature)
    found = {"set": name, "images": len(images), "split": "test", "auroc": asdict(area_of(known, others))}
    refused = None if threshold is None else float((others < threshold).mean())
    return found | {"mean_confidence": float(others.mean()), "refused_at_threshold": refused}


def _confidence_of_each(count):
    """Return the confidence of each of so many intervals that hold together (Bonferroni), for the worst that is named of all."""
    return 1.0 - (1.0 - CONFIDENCE) / count


def _corruptions(run, tell):
    places = corrupted_places(run)
    sample, kinds = run.dataset.test.select(places), {kind: [] for kind in CORRUPTIONS}
    for kind, images in _corrupted(sample.read()):
        tell(f"corrupted images of test: {kind} ...")
        kinds[kind].append(float((_predict(run, images).argmax(1) == sample.labels).mean()))
    every = [(accuracy, kind, strength) for kind, row in kinds.items() for strength, accuracy in zip(STRENGTHS, row, strict=True)]
    worst, kind, strength = min(every)
    count = len(places)
    interval = exact_interval(worst, count, _confidence_of_each(len(every)))
    return {
        "split": "test",
        "images": count,
        "strengths": list(STRENGTHS),
        "clean": float(run.predictions("test").is_right[places].mean()),
        "mean": float(np.mean([accuracy for accuracy, *_ in every])),
        "worst": {"kind": kind, "strength": strength, "accuracy": worst, "interval": interval},
        "kinds": kinds,
    }


def corrupted_places(run):
    """Return the places in test of the images that are corrupted: evenly spaced, as many as there is time for."""
    size = run.dataset.image_shape[0]
    return places_of_sample(run.dataset.test, max(min(IMAGES, PIXELS // size**2), FEWEST), most_bytes=1 << 30)


def _corrupted(images):
    """Yield (kind, images under it) for each strength of each kind; a thread makes the next ones while some are in use."""
    with ThreadPoolExecutor(1) as thread:
        cases = list(product(CORRUPTIONS, STRENGTHS))
        following = thread.submit(corrupt, images, *cases[0])
        for i, (kind, _) in enumerate(cases, start=1):
            found = following.result()
            if i < len(cases):
                following = thread.submit(corrupt, images, *cases[i])
            yield kind, found


def _predict(run, images):
    """Return the logits of images that are not of the data set, `(N, classes)`."""
    return predict(run.model, Batches(run.dataset, as_split(images), at_once(run.dataset.image_shape, TOGETHER)))
