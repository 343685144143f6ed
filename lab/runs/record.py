"""Published record of a finished run: one JSON file of a few kB, without weights, paths and names of machines.

It holds settings, environment, history and metrics, the names of the classes, what splits share, which test images are right, and
(of seed 0, if the run recorded gradients) gradient norms. `unpack` makes a run's output folder of it, so that a record is read
and checked as a run is.
"""

import json
import math
from dataclasses import asdict
from typing import Any

from datasets.catalog import short_name
from foundation.errors import UserError
from foundation.files import write_whole
from foundation.settings import FREE
from lab.runs.contents import classes_of, environments_of, epochs_of, flow_of
from lab.runs.metrics import metrics_of
from lab.runs.predictions import CORRECTNESS, correctness_of
from lab.runs.run import Run

ENVIRONMENT = ("python", "platform", "cores", "threads", "processes", "versions", "backend", "device", "git_commit", "data")
FILES = {
    "metrics": "metrics.json",
    "history": "history.json",
    "overlap": "overlap.json",
    "flow": "flow.json",
    "correct": CORRECTNESS,
}
DIGITS = 7  # significant ones of a number; a float32 has no more


def record_of(run) -> dict:
    """Return the record of a finished run. Raises UserError if it is not finished, or a file of it is damaged."""
    run.check_finished()
    config, correctness = run.read_settings(), correctness_of(run)
    record = {
        "config": published_settings(config),
        "environment": [{name: one[name] for name in ENVIRONMENT if name in one} for one in environments_of(run)],
        "classes": [entry["name"] for entry in classes_of(run)],
        "history": epochs_of(run),
        "metrics": metrics_of(run),
    }
    if (run.output / "overlap.json").is_file():
        record["overlap"] = run.read_json("overlap.json")
    if correctness:
        record["correct"] = correctness.record()
    if config.track_gradients and config.seed == 0:
        found = flow_of(run, ("gradient_norm",))
        record["flow"] = {name: rounded(found[name], 3) for name in ("layers", "epoch", "gradient_norm")}
    return rounded(record)


def published_settings(config):
    """Return the settings that a run computes by, with folders named by their last part."""
    settings = {name: value for name, value in asdict(config).items() if name not in FREE}
    settings |= {"seed": config.seed}
    if config.dataset.startswith("folder:"):
        settings["dataset"] = f"folder:{short_name(config.dataset)}"
    if settings["init_from"] and not settings["init_from"].startswith("keras-hub:"):
        settings["init_from"] = settings["init_from"].rstrip("/").replace("\\", "/").rpartition("/")[2]
    return settings


def rounded(value, digits: int = DIGITS) -> Any:
    """Return a JSON value whose numbers with a fraction have so many significant digits."""
    if isinstance(value, dict):
        return {name: rounded(inner, digits) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner, digits) for inner in value]
    if not isinstance(value, float) or not value or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def as_lines(record) -> bytes:
    """Return a record as the bytes of a JSON file with a line for each part of a part: few lines, and differences show."""
    parts = []
    for name, part in record.items():
        if isinstance(part, dict) and part:
            inner = ",\n".join(f"  {json.dumps(key)}: {_on_a_line(value)}" for key, value in part.items())
            parts.append(f"{json.dumps(name)}: {{\n{inner}}}")
        else:
            parts.append(f"{json.dumps(name)}: {_on_a_line(part)}")
    return ("{\n" + ",\n".join(parts) + "}\n").encode()


def _on_a_line(value):
    return json.dumps(value, separators=(",", ":"))


def unpack(record, name, folder) -> Run:
    """Return the Run of a record, whose files are written to `folder/name`. Raises UserError if no record looks like that."""
    parts = {"config": dict, "environment": list, "classes": list, "history": dict, "metrics": dict}
    if fault := next((part for part, kind in parts.items() if not isinstance(record.get(part), kind)), None):
        raise UserError(f"the record of run '{name}' is damaged: {fault} is missing")
    run = Run(name, folder, folder / "weights")
    run.output.mkdir(parents=True, exist_ok=True)
    place = {"run": name, "output_dir": str(folder), "weights_dir": str(folder / "weights")}
    first, *continued = record["environment"] or [{}]
    files = {file: record[part] for part, file in FILES.items() if part in record}
    files |= {
        "config.json": record["config"] | place,
        "environment.json": first | {"continued": continued} if isinstance(first, dict) else first,
        "classes.json": [{"label": label, "name": each, "id": ""} for label, each in enumerate(record["classes"])],
    }
    for file, content in files.items():
        write_whole(run.output, file, json.dumps(content).encode())
    record_of(run)  # raises UserError where a part of it is not what a run writes
    return run
