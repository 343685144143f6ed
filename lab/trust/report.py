"""`python evaluate.py RUN --trust`: the record and the page on what a run's answers are worth."""

import sys

from foundation.errors import printable
from foundation.files import write_whole
from foundation.style import image_of
from lab.reports.finished import Finished
from lab.reports.page import page
from lab.runs.reliance import FILE
from lab.training.evaluation import accuracy_interval
from lab.trust.figures import draw_answered, draw_calibration, draw_corruptions
from lab.trust.measurement import answers_of, corrupted_places, measure_trust
from lab.trust.selective import curve_of
from lab.trust.unlike import sets_for

PAGE = "trust.html"


def report(run, unlike=()):
    """Write `trust.json` and `trust.html` of a finished run and print what they say in short. Raises UserError."""
    finished = Finished(run, run.name)
    names = sets_for(finished.config, unlike)
    record = measure_trust(finished, names, _tell)
    run.write_json(FILE, record)
    write_whole(run.output, PAGE, page(title_of(record), blocks_of(record, finished)).encode())
    print("\n" + "\n".join(f"{question} {printable(answer)} ({split})" for question, answer, split in summary(record, finished)))
    print(f"all in {run.output / PAGE} and {FILE}")
    return record


def _tell(text):
    if sys.stderr.isatty():
        print(f"\r{text}\033[K", end="" if text.endswith("...") else "\n", file=sys.stderr, flush=True)


def title_of(record) -> str:
    return f"What the answers of {record['run']} are worth"


def blocks_of(record, finished):
    """Yield the page's blocks, see `lab.reports.page`."""
    yield "heading", title_of(record)
    yield "code", record["command"]
    yield (
        "text",
        "Temperature and threshold are chosen on val; everything else is measured on test, of which nothing was chosen. "
        "Intervals are of 95 %, over images like these: they say nothing about images of other sources.",
    )
    yield "list", [f"{question} {answer} ({split})" for question, answer, split in summary(record, finished)]
    yield from _calibration(record, finished)
    yield from _answered(record, finished)
    yield from _unlike(record)
    yield from _corruptions(record, finished)
    yield "heading", "Classes on test"
    yield (
        "text",
        "The class with the lowest recall comes first. Recall is the share of a class's images that are named correctly.",
    )
    yield "table", table_of_classes(record)


def summary(record, finished) -> list[list[str]]:
    """Return rows of question, answer and split."""
    test, corruptions, worst = finished.metrics["test"], record["corruptions"], record["classes"]["worst"]
    low, high = accuracy_interval(test["accuracy"], test["images"])
    calibration, at = record["calibration"]["test"], record["selective"]["at_threshold"]
    rows = [["How often is it right?", f"{percent(test['accuracy'])} ({span((low, high))})", "test"]]
    found = f"{worst['name']}: {percent(worst['recall'])} ({span(worst['recall_interval_of_all'])})"
    rows.append(["Its worst class?", f"{found}, {worst['support']:,} images", "test"])
    before, after = (percent(calibration[when]["ece"]) for when in ("before", "after"))
    rows.append(["Is it as often right as it is sure?", f"apart by {before} on average, {after} after scaling", "test"])
    rows.append(["When is it wrong at most once in 100?", threshold_in_words(record["selective"]["threshold"], at), "test"])
    for found in record["unlike"]:
        area = found["auroc"]
        rows.append(
            [f"Does it know {found['set']} as foreign?", f"AUROC {area['value']:.3f} ({decimals(area['interval'])})", "test"]
        )
    rows.append(["How often is it right on corrupted images?", f"{percent(corruptions['mean'])} on average", "test"])
    kind = corruptions["worst"]
    answer = f"{kind['kind']} at strength {kind['strength']}: {percent(kind['accuracy'])} ({span(kind['interval'])})"
    rows.append(["What harms it most?", answer, "test"])
    return rows


def threshold_in_words(threshold, at) -> str:
    if at is None:
        return f"never: no share of the {threshold['images']:,} images of val has so few errors"
    found = f"above {threshold['value']:.3f}: answers {percent(at['answered'])} ({span(at['answered_interval'])})"
    return f"{found}, {percent(at['error'])} wrong ({span(at['error_interval'])})" if "error" in at else found


def _calibration(record, finished):
    temperature = record["temperature"]
    yield "heading", "Confidence"
    interval = f" (95 % interval {decimals(temperature['interval'])})" if temperature["interval"] else ""
    fitted = f"Temperature {temperature['value']:.3f}{interval}, fitted on {temperature['images']:,} images of val"
    note = f" There is a reason for 1: {temperature['note']}." if temperature["note"] else ""
    yield "text", f"{fitted}. Logits are divided by it before the softmax, which changes no answer.{note}"
    rows = [["split", "ECE before", "ECE after", "cross-entropy before", "cross-entropy after"]]
    for split, found in record["calibration"].items():
        numbers = [percent(found[when]["ece"]) for when in found] + [f"{found[when]['loss']:.4f}" for when in found]
        rows.append([f"{split} (fitted on it)" if split == "val" else split, *numbers])
    yield "table", rows
    test = finished.predictions("test")
    figure = draw_calibration(test.logits, test.labels, temperature["value"])
    yield "pictures", {"reliability diagrams of test": image_of(figure, "png", dpi=110)}


def _answered(record, finished):
    found, temperature = record["selective"], record["temperature"]["value"]
    threshold = found["threshold"]
    yield "heading", "When may it say \N{LEFT DOUBLE QUOTATION MARK}I don't know\N{RIGHT DOUBLE QUOTATION MARK}?"
    words = "There is no threshold: no share of val has an error of at most 1 %."
    if threshold["value"] is not None:
        words = (
            f"Threshold {threshold['value']:.3f} (95 % interval {decimals(threshold['interval'])}): the lowest confidence from "
            f"which on at most 1 % of the {threshold['images']:,} images of val were wrong."
        )
    yield "text", f"{words} predict.py refuses what is below it if it is given --threshold trust."
    shares = list(found["test"]["accuracy_at"])
    rows = [["accuracy where this share is answered", *(f"{100 * float(share):g} %" for share in shares), "mean error (AURC)"]]
    for split in ("val", "test"):
        own = found[split]
        rows.append([split, *(percent(own["accuracy_at"][share]) for share in shares), percent(own["area"])])
    yield "table", rows
    curves = {split: curve_of(*answers_of(finished, split, temperature)) for split in ("val", "test")}
    figure = draw_answered(curves, threshold["value"])
    yield "pictures", {"accuracy against the share answered": image_of(figure, "png", dpi=110)}


def _unlike(record):
    yield "heading", "Pictures of no class"
    yield (
        "text",
        "A network gives every picture one of its classes. AUROC is the chance that it is surer of an image of test than of a "
        "foreign one: 0.5 is guessing, 1 tells all apart.",
    )
    rows = [["set", "images", "AUROC against test", "interval", "mean confidence", "refused by the threshold"]]
    for found in record["unlike"]:
        area, refused = found["auroc"], found["refused_at_threshold"]
        shown = "-" if refused is None else percent(refused)
        numbers = [f"{area['value']:.3f}", decimals(area["interval"]), percent(found["mean_confidence"]), shown]
        rows.append([found["set"], f"{found['images']:,}", *numbers])
    yield "table", rows


def _corruptions(record, finished):
    found = record["corruptions"]
    yield "heading", "Corrupted images"
    yield (
        "text",
        f"Accuracy on {found['images']:,} images of test, evenly spaced: {percent(found['clean'])} as they are. Kinds and "
        "strengths are of Hendrycks & Dietterich 2019, for images of this size.",
    )
    rows = [["corruption", *(f"strength {strength}" for strength in found["strengths"]), "mean"]]
    for kind, row in sorted(found["kinds"].items(), key=lambda item: sum(item[1])):
        rows.append([kind, *map(percent, row), percent(sum(row) / len(row))])
    yield "table", rows
    sample = finished.dataset.test.select(corrupted_places(finished)[:1])
    figure = draw_corruptions(sample.read()[0], finished.dataset.class_names[sample.labels[0]])
    yield "pictures", {"an image of test under each corruption": image_of(figure, "png", dpi=110)}


def table_of_classes(record) -> list[list[str]]:
    """Return rows of test's classes, the one with the lowest recall first; classes without images last."""
    rows = [["class", "images", "recall", "interval", "precision", "F1"]]
    for row in sorted(record["classes"]["rows"], key=lambda row: (row["support"] == 0, row["recall"], row["name"])):
        if not row["support"]:
            rows.append([row["name"], "0", *["-"] * 4])
            continue
        numbers = [percent(row["recall"]), span(row["recall_interval"]), percent(row["precision"]), f"{row['f1']:.3f}"]
        rows.append([row["name"], f"{row['support']:,}", *numbers])
    return rows


def percent(share) -> str:
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def span(interval) -> str:
    return "{:.1f} to {:.1f}\N{NO-BREAK SPACE}%".format(*(100 * end for end in interval))


def decimals(interval) -> str:
    return "{:.3f} to {:.3f}".format(*interval)
