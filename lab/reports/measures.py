"""Measures of a study's networks beside accuracy, one row each; a study names what it wants in `measures`."""

import json
from dataclasses import dataclass
from importlib import import_module

from foundation import backend
from foundation.errors import UserError
from foundation.files import as_json, read_json, write_whole
from lab.runs.contents import is_number
from lab.runs.environment import device_name
from lab.runs.same_settings import settings_of_all_seeds

FILE = "measures.json"  # in the study's folder: {arm: {measure: {"value", "device", "settings"}}}


@dataclass(frozen=True)
class Measure:
    """A number of a network, and how it is shown."""

    head: str  # of its column in the report's table
    form: str  # of a cell, as a format
    label: str  # of the axis of costs
    how: str  # what is measured, for a reader
    source: str  # module:function; from a list of configs to their values
    backends: tuple[str, ...]  # on which it can be measured

    def values_of(self, configs):
        module, _, function = self.source.partition(":")
        return getattr(import_module(module), function)(configs)


MEASURES = {
    "latency_ms": Measure(
        "ms an image",
        ".2f",
        "ms for one image (torch, folded)",
        "torch, norms folded, mean of 100 after 10 warm-ups",
        "lab.benchmarks.inference:milliseconds_of",
        ("torch",),
    ),
}


def add_measures(results, names, folder=None):
    """Add measures to the metrics of results that have some; on a backend that can't measure one, it is left out.

    What was measured is kept in the study's `folder`, if there is one, and taken from there while an arm's settings stay.
    """
    finished = [result for result in results if result.metrics]
    kept, is_new = kept_measures(folder), False
    for name in names:
        measure, missing = MEASURES[name], [result for result in finished if not _is_kept(kept, result, name)]
        if missing and backend.name() not in measure.backends:
            continue
        # All anew: only values of one session on one machine can be compared.
        if missing:
            is_new = True
            for result, value in zip(finished, measure.values_of([result.config for result in finished]), strict=True):
                entry = {"value": value, "device": device_name(), "settings": _settings(result)}
                kept.setdefault(result.name, {})[name] = entry
        for result in finished:
            for metrics in result.metrics.values():
                metrics[name] = kept[result.name][name]["value"]
    if folder and is_new:
        write_whole(folder, FILE, as_json(kept))


def put_measures(results, kept):
    """Put those published measures, {arm: {measure: {"value", ...}}}, that all arms have into the metrics of results."""
    finished = [result for result in results if result.metrics]
    for name in MEASURES:
        if all(name in kept.get(result.name, {}) for result in finished):
            for result in finished:
                for metrics in result.metrics.values():
                    metrics[name] = kept[result.name][name]["value"]


def measured(results):
    """Return {name: Measure} of those that are among the metrics of results."""
    names = {name for result in results for metrics in result.metrics.values() for name in metrics}
    return {name: measure for name, measure in MEASURES.items() if name in names}


def _settings(result):
    return json.loads(as_json(dict(settings_of_all_seeds(result.config))))


def _is_kept(kept, result, name):
    entry = kept.get(result.name, {}).get(name, {})
    return entry.get("settings") == _settings(result) and entry.get("device") == device_name()


def kept_measures(folder):
    """Return what the study's folder holds, {arm: {measure: entry}}; what is damaged is measured anew."""
    try:
        found = read_json(folder / FILE) if folder else {}
    except (UserError, OSError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {arm: entries for arm, entries in found.items() if _is_sound(entries)}


def _is_sound(entries):
    return isinstance(entries, dict) and all(
        isinstance(entry, dict) and is_number(entry.get("value")) for entry in entries.values()
    )
