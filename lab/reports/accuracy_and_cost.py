"""Accuracy of finished runs against the costs of their networks, for each data set separately."""

from datasets.catalog import pool_of, short_name
from lab.reports.costs import cost_table
from lab.reports.figures import draw_costs
from lab.reports.finished import told_apart
from lab.reports.measures import add_measures, measured
from lab.reports.results import results_of_runs

COSTS = {"params": "parameters", "macs": "multiply-accumulates per image"}


def compare(finished, title):
    """Yield (data set's name, table, figure) of accuracy of finished runs against parameters, multiply-accumulates and latency.

    Accuracies on different data are never ranked together.
    """
    for name, runs in by_data(told_apart(finished)).items():
        results = results_of_runs(runs)
        add_measures(results, ("latency_ms",))
        costs = COSTS | {measure: each.label for measure, each in measured(results).items()}
        yield name, cost_table(results, costs), draw_costs(results, f"{title} on {name}", costs)


def by_data(runs):
    """Return {name: runs on the same images}, with names as in the names of runs; different sets of one name are numbered."""
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
    """Return what identifies the images of a run: source, classes, and the numbers of train and test images.

    Runs in which it is equal may be ranked together.
    """
    config, kind = run.config, run.config.dataset.partition(":")[0]
    name = pool_of(config.dataset) if kind == "folder" else config.dataset
    drawn = config.class_seed if kind == "tiny_imagenet25" else None
    return kind, name, drawn, config.images_per_class, run.metrics["test"]["images"]
