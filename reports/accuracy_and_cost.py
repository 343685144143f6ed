"""Accuracy of finished runs against what their networks cost, each data set by itself."""

from datasets.catalog import pool_of, short_name
from errors import UserError
from reports.costs import cost_table
from reports.figures import LATENCY, draw_costs
from reports.finished import told_apart
from reports.results import results_of_runs, take_latencies
from training.run import Run

COSTS = {"params": "parameters", "macs": "multiply-accumulates per image"} | LATENCY


def compare(folder, pattern, latencies_of):
    """Yields (data set's name, table, figure) of accuracy against parameters, multiply-accumulates and latency, of the runs of
    a folder that match: accuracies on unlike data are never ranked together.

    `latencies_of` gives the milliseconds of the networks of a list of configs. Raises UserError where none is finished.
    """
    finished = told_apart(Run.finished(pattern, folder))
    if not finished:
        raise UserError(f"none of the runs '{pattern}' in {folder} is finished")
    for name, runs in by_data(finished).items():
        results = results_of_runs(runs)
        take_latencies(results, latencies_of)
        yield name, cost_table(results, COSTS), draw_costs(results, f"finished runs '{pattern}' on {name}", COSTS)


def by_data(runs):
    """{name: runs on the same images}, names as they are parts of runs' names; different sets of one name are numbered."""
    groups = {}
    for run in runs:
        groups.setdefault(_data_of(run), []).append(run)
    named = {}
    for (kind, *_), group in groups.items():
        name = base = short_name(group[0].config.dataset) or kind
        number = 1
        while name in named:
            number += 1
            name = f"{base}-{number}"
        named[name] = group
    return named


def _data_of(run):
    """What the images of a run have in common with those of runs that they may be ranked with: source, classes, how many train
    and test images there are."""
    config, kind = run.config, run.config.dataset.partition(":")[0]
    name = pool_of(config.dataset) if kind == "folder" else config.dataset
    drawn = config.class_seed if kind == "tiny_imagenet25" else None
    return kind, name, drawn, config.images_per_class, run.metrics["test"]["images"]
