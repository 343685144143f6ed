"""Report of a study: report.md, report.html (all in one file), results.csv, results.json and figures."""

import contextlib
import csv
import io
import json
from functools import partial

from foundation.errors import UserError, printable
from foundation.escaping import for_csv, for_markdown
from foundation.files import as_json
from foundation.grammar import duration
from foundation.style import image_of
from lab.reports import cells
from lab.reports.comparison_table import comparison_blocks, record_of
from lab.reports.factorial_report import factorial_blocks
from lab.reports.image_sampling import image_blocks, image_comparisons
from lab.reports.image_sampling import record_of as record_of_images
from lab.reports.measures import MEASURES, measured
from lab.reports.page import page
from lab.reports.report_pictures import report_pictures
from lab.reports.results import SPLITS, course_of, notes_on_chance, notes_on_precision
from lab.reports.sequential import looks_in_words
from lab.runs.contents import classes_of, environments_of
from lab.runs.environment import device_name, short_commit
from lab.training.evaluation import describe_overlap, read_overlap

NOTE_ON_F1 = (
    "Micro F1 equals accuracy where every image has one label: it is one measurement, not two. Macro F1 weighs classes equally."
)


def write_report(session, results, contrasts, write):
    """Write everything; `write(file name, bytes)` puts each file in place."""
    comparisons = [result.comparison for result in results if result.comparison] + contrasts
    figures = {name: draw() for name, draw in report_pictures(session, results, comparisons).items()}
    shown = {name: image_of(figure, "png", dpi=110) for name, figure in figures.items()}
    for name, figure in figures.items():
        write(f"{name}.png", shown[name])
        write(f"{name}.svg", image_of(figure, "svg"))
    over_images = image_comparisons(session.runs, comparisons)
    blocks = list(report_blocks(session, results, comparisons, over_images, shown))
    write("report.md", as_markdown(blocks).encode(errors="replace"))
    write("report.html", page(session.title, blocks).encode())
    tables = {"results": list(map(_record, results)), "comparisons": list(map(record_of, comparisons))}
    tables |= {"image_sampling": list(map(record_of_images, over_images))} if over_images else {}
    for name, records in tables.items():
        write(f"{name}.csv", _csv(records).encode(errors="surrogateescape"))
        write(f"{name}.json", as_json(records))


def report_blocks(session, results, comparisons, over_images, pictures, device=None):
    """Yield the report as blocks of `lab.reports.page`, in order.

    `pictures` are {name: PNG}; `device` is the one on which measures beside accuracy were taken, if it is not this machine's.
    """
    study, runs = session.study, session.runs
    yield "heading", study.question
    yield "text", f"Source: {study.source}."
    yield "code", session.command
    yield "list", list(_conditions(session, results, device))
    yield "heading", "Answer"
    yield "table", _table(study, results)
    yield from comparison_blocks(comparisons, study.margin)
    yield from factorial_blocks(study, results)
    if session.look_plan:
        yield "heading", "When it was known"
        yield "list", list(looks_in_words(course_of(study, runs, session.look_plan), runs))
    yield from _reservations(runs, results)
    yield from image_blocks(over_images)
    failed = [f"{result.name}, seed {seed}: {why}" for result in results for seed, why in result.failures.items()]
    if failed:
        yield "heading", "Failed runs"
        yield "list", failed
    yield "pictures", pictures
    yield "heading", "Every split"
    yield "table", _splits_table(results)
    yield "text", NOTE_ON_F1
    yield "heading", "What the arms are"
    yield "list", [f"{name}: {_in_words(settings.items()) or 'as all are'}" for name, settings in session.compared()]
    if study.remarks:
        yield "heading", "Remarks"
        yield "list", list(study.remarks)


def _conditions(session, results, device):
    """Yield sentences on what was trained, how, and where."""
    runs = session.runs
    config, seeds = runs[0].config, sorted({planned.seed for planned in runs})
    yield _data(config, results)
    yield f"scale {session.scale}: {config.epochs} epochs, seeds {', '.join(map(str, seeds))}; {_shared(runs)}"
    held = _in_words(session.held_equal())
    yield f"held equal: {held}{'; ' if held else ''}all else as in lab/studies/protocol.py"
    yield from _claims(session.study, results)
    yield from shared_images_note(runs)
    yield f"computed on: {computed_on(runs)}"
    yield from notes_on_precision(runs)
    for each in measured(results).values():
        yield f"{each.head}: {each.how}, on {device or device_name()}"
    yield f"the epoch is chosen by {config.monitor.replace('_', ' ')}; test is measured once"


def _reservations(runs, results):
    """Yield blocks on what keeps the answer from being one: arms at chance, a single seed, seeds that are missing."""
    if notes := list(notes_on_chance(results, _classes(runs))):
        yield "list", notes
    if len({planned.seed for planned in runs}) == 1:
        yield "text", "A single seed: no intervals, and no conclusions."
    elif len({tuple(result.accuracies) for result in results}) > 1:
        yield "text", "Not every arm has every seed yet: means are of the seeds there are, differences of those that both have."


def _in_words(settings):
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings)


def _shared(runs):
    """Return what runs of one seed have in common besides settings. With different batch sizes, augmentation is drawn anew."""
    if len({planned.config.seed - planned.seed for planned in runs}) > 1:
        return "arms share no random numbers"
    is_same = len({planned.config.batch_size for planned in runs}) == 1
    return f"arms share {'splits, order and augmentation' if is_same else 'splits and order'} of a seed"


def computed_on(runs):
    """Return the machines, versions and commits of finished runs, also of their continuations; several if they differ."""
    found = {}
    finished = (planned.run for planned in runs if planned.is_finished())
    for run in finished:
        for e in environments_of(run):
            threads = f", {e['threads']} of {e.get('cores')} threads a run" if e.get("threads") else ""
            version = e["versions"].get(e["backend"], "")
            found[f"{e['device']}{threads}, {e['backend']} {version}, commit {short_commit(e.get('git_commit'))}"] = None
    return "; and on: ".join(found) or "no run has finished"


def _data(config, results):
    size = f" at {config.image_size} pixels" if config.image_size else ""
    kind, _, path = config.dataset.partition(":")
    shown = f"the folder {path}{size}, which may differ from any public set" if kind == "folder" else f"{config.dataset}{size}"
    few = f"; train keeps at most {config.images_per_class:,} images of each class, val and test keep all"
    images = next((metrics for result in results for metrics in result.metrics.values()), {})
    counts = ", ".join(f"{split} {images[split]['images']:,} images" for split in SPLITS if images)
    return f"data: {shown}{few if config.images_per_class else ''}{f' ({counts})' if counts else ''}"


def _claims(study, results):
    if any(result.claimed for result in results):
        source = study.scales["full"].settings
        yield f"claimed: the source's test accuracy (%), on {source['dataset']} after {source['epochs']} epochs"


def shared_images_note(runs):
    """Return a line for each different overlap among the splits of finished runs, from the first run that has it."""
    found = {}
    for planned in runs:
        if planned.is_finished():
            overlap, metrics = read_overlap(planned.run), planned.run.read_json("metrics.json")
            said = describe_overlap(overlap, metrics)
            shared = overlap and overlap["shared"]
            where = f"{planned.arm}, seed {planned.seed}: " if shared and any(shared.values()) else ""
            found.setdefault(str(shared), where + said)
    return list(dict.fromkeys(found.values()))


def _classes(runs):
    """Return the number of classes of the finished runs; None if no run is finished, or none has recorded them."""
    for planned in runs:
        if planned.is_finished():
            with contextlib.suppress(UserError):
                return len(classes_of(planned.run))
    return None


def _table(study, results):
    columns = _columns(study, results)
    return [list(columns), *([cell(result) for cell in columns.values()] for result in results)]


def _columns(study, results):
    """Return {head: function from a result to its cell} for the table of the answer."""
    columns = {
        "arm": lambda result: result.name,
        "seeds": lambda result: str(len(result.accuracies)),
        "test accuracy (%)": _accuracy,
        "deviation": lambda result: cells.number(
            result.accuracy and result.accuracy.interval and result.accuracy.deviation, ".2f"
        ),
        "95 % over seeds": lambda result: cells.interval(result.accuracy and result.accuracy.interval),
        "95 % over images": lambda result: cells.interval(result.image_interval),
        "claimed": lambda result: cells.number(result.claimed, "g"),
        "against": lambda result: result.versus or "-",
        "difference": lambda result: cells.difference(result.difference),
    }
    if any(result.total for result in results):
        columns[f"from {study.reference}"] = lambda result: cells.difference(result.total)
    columns |= {
        "parameters": lambda result: cells.number(result.mean("params")),
        "MACs": lambda result: cells.number(result.mean("macs")),
        "time": lambda result: duration(result.mean("seconds")) if result.metrics else "-",
    }
    for name, each in measured(results).items():
        columns[each.head] = partial(_measure, name, each.form)
    return columns


def _measure(name, form, result):
    return cells.number(result.mean(name), form)


def _accuracy(result):
    if result.accuracies:
        return f"{result.accuracy.mean:.2f}"
    return "failed" if result.failures else "-"


def _splits_table(results):
    rows = [["arm", *(f"{split} {what}" for split in SPLITS for what in ("accuracy", "micro F1", "macro F1"))]]
    for result in results:
        metrics = ("accuracy", "f1_micro", "f1_macro")
        rows.append([result.name, *(cells.number(result.mean(split, m), ".4f") for split in SPLITS for m in metrics)])
    return rows


def _record(result):
    estimate, difference, comparison = result.accuracy, result.difference, result.comparison
    return (
        {
            "arm": result.name,
            "test_accuracy_percent": estimate and estimate.mean,
            "deviation": estimate and estimate.deviation,
            "interval": estimate and estimate.interval,
            "image_interval": result.image_interval,
            "seeds": result.accuracies,
            "claimed": result.claimed,
            "versus": result.versus,
            "difference": difference and difference.mean,
            "difference_interval": difference and difference.interval,
            "p": comparison and comparison.p,
            "p_after_holm": comparison and comparison.adjusted,
            "verdict": comparison and comparison.verdict,
            "difference_from_reference": result.total and result.total.mean,
            "difference_from_reference_interval": result.total and result.total.interval,
            "params": result.mean("params"),
            "macs": result.mean("macs"),
            "seconds": result.mean("seconds"),
            "failures": result.failures,
        }
        | {name: result.mean(name) if name in measured([result]) else None for name in MEASURES}
        | {
            f"{split}_{metric}": result.mean(split, metric)
            for split in SPLITS
            for metric in ("loss", "accuracy", "f1_micro", "f1_macro")
        }
    )


def _csv(records):
    text = io.StringIO()
    writer = csv.DictWriter(text, records[0] if records else ())
    writer.writeheader()
    for record in records:
        flat = {key: json.dumps(value) if isinstance(value, dict | tuple) else value for key, value in record.items()}
        writer.writerow({key: for_csv(value) for key, value in flat.items()})
    return text.getvalue()


def as_markdown(blocks):
    """Return blocks of `lab.reports.page` as Markdown, with pictures in files beside it."""
    parts = []
    for number, (kind, content) in enumerate(blocks):
        if kind == "heading":
            parts.append(("# " if number == 0 else "## ") + for_markdown(content))
        elif kind == "text":
            parts.append(for_markdown(content, begins_line=True))
        elif kind == "code":
            parts.append(f"    {printable(content)}")
        elif kind == "list":
            parts.append("\n".join(f"* {for_markdown(item, begins_line=True)}" for item in content))
        elif kind == "table":
            lines = ["| " + " | ".join(map(for_markdown, row)) + " |" for row in content]
            parts.append("\n".join([lines[0], "|" + "---|" * len(content[0]), *lines[1:]]))
        else:
            parts.append("\n".join(f"![{name}]({name}.png)" for name in content))
    return "\n\n".join(parts) + "\n"
