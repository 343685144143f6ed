"""Audit of a data set from the command line to its files: `output/audit/<name>/audit.html`, `audit.json` and `look-at.csv`."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from datasets.access import looking
from datasets.catalog import OF_DATA, check_name, check_there, load_as, short_name
from foundation.checks import checked
from foundation.errors import UserError, printable
from foundation.files import as_json, write_file
from foundation.flags import read_setting
from foundation.paths import typed_path
from foundation.settings import Config
from lab.auditing.findings import Findings, LabelError
from lab.auditing.leaks import find_repeats
from lab.auditing.page import audit_page
from lab.auditing.pictures import pictures_of
from lab.auditing.shortcuts import find_shortcuts
from lab.runs.places import settled_paths
from lab.runs.run import Run

SHIPPED = "train"  # of --labels: networks with the shipped settings


def settle_question(dataset, settings, labels, without_leaks, output_dir):
    """Return (Config, Run of `without_leaks` or None) of what is asked: settings are those of the run that is named, if one is.

    `settings` are texts such as `image_size=64`. Raises UserError.
    """
    runs = {
        option: Run.find(name, output_dir)
        for option, name in (("labels", labels), ("without-leaks", without_leaks))
        if name and (option, name) != ("labels", SHIPPED)
    }
    given = dict(map(read_setting, settings))
    configs = [run.read_config() for run in runs.values()]
    if configs and given:
        raise UserError(f"{', '.join(given)} can't be set beside a run, whose settings are used (allowed: without a run)")
    if not configs and not dataset:
        raise UserError("which pictures? python audit.py folder:PATH (or --labels RUN, --without-leaks RUN)")
    config = configs[0] if configs else checked({"dataset": dataset} | given)
    for other in configs[1:]:
        if differing := [name for name in ("dataset", *OF_DATA) if getattr(other, name) != getattr(config, name)]:
            raise UserError(f"the two runs have not the same pictures and splits: {', '.join(differing)}")
    check_name(dataset or config.dataset, config.group_by)
    if configs and dataset and not _is_same_data(config, dataset):
        raise UserError(f"run '{next(iter(runs.values())).name}' was trained on {config.dataset}, not on {dataset}")
    check_there(config.dataset)
    if "without-leaks" in runs:
        runs["without-leaks"].check_finished()
    return config, runs.get("without-leaks")


def _is_same_data(config, dataset):
    other = replace(config, dataset=dataset)
    return settled_paths(config).get("dataset", config.dataset) == settled_paths(other).get("dataset", dataset)


def audit(config, labels, run, output_dir) -> Path:
    """Audit the data set of a Config; print the findings, write the files, and return the page's path.

    `labels` asks for probable label errors; a `run` for its accuracy without leaked pictures. Raises UserError.
    """
    folder = typed_path(output_dir) / "audit" / short_name(config.dataset)
    dataset = _load(config, run)
    for note in dataset.notes:
        print(f"note: {printable(note)}")
    pictures = pictures_of(dataset)
    repeats = find_repeats(pictures)
    findings = Findings(pictures, repeats, find_shortcuts(pictures, repeats.families))
    if run:
        from lab.auditing.without_leaks import accuracy_without

        findings = replace(findings, accuracy=accuracy_without(run, pictures, repeats.is_leaked()), run=run.name)
    if labels:
        errors, agreement = _label_errors(config, findings, folder)
        findings = replace(findings, label_errors=errors, about_labels=_about(config) | {"agreement": agreement})
    for sentence in findings.sentences():
        print(printable(sentence))
    for split, found in (findings.accuracy or {}).items():
        print(_accuracy_sentence(run, split, found))
    return _write(findings, folder)


def _load(config, run):
    with looking() if run else nullcontext():
        return load_as(config)


def _label_errors(config, findings, folder: Path):
    """Return the LabelErrors, and the share of all labels that are the networks' first choice."""
    from callbacks.checkpoint import Interrupted
    from lab.auditing.folds import out_of_fold
    from lab.auditing.label_errors import probable_errors

    try:
        probabilities = out_of_fold(findings.pictures.dataset, config, findings.repeats.families, folder / "folds")
    except Interrupted as interruption:
        print("\nstopped with everything written; the same command goes on", flush=True)
        raise SystemExit(interruption.exit_code) from None
    labels = findings.pictures.labels
    rows, suggested = probable_errors(probabilities, labels)
    errors = [
        LabelError(int(row), int(other), float(probabilities[row, other]), float(probabilities[row, labels[row]]))
        for row, other in zip(rows, suggested, strict=True)
    ]
    return errors, float((probabilities.argmax(1) == labels).mean())


def _about(config: Config):
    return {"model": config.model, "epochs": config.epochs, "image_size": config.image_size, "seed": config.seed}


def _accuracy_sentence(run, split, found):
    measured, rest = found["with"], found["without"]
    start = f"{run.name} on {split}: {100 * measured['accuracy']:.2f} % of {measured['images']:,}"
    if rest is None:
        return f"{start} pictures, all known from an earlier split"
    low, high = rest["interval"]
    return (
        f"{start} pictures, {100 * rest['accuracy']:.2f} % ({100 * low:.2f} to {100 * high:.2f} %) "
        f"of the {rest['images']:,} that no earlier split holds"
    )


def _write(findings, folder):
    write_file(folder / "look-at.csv", findings.look_at().encode(errors="surrogateescape"))
    write_file(folder / "audit.json", as_json(findings.record()))
    write_file(folder / "audit.html", audit_page(findings).encode())
    return folder / "audit.html"
