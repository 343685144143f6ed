"""Accuracy of finished runs against what their networks cost."""

from reports.costs import cost_table
from reports.figures import draw_costs
from reports.results import results_of_runs
from training.run import Run

COSTS = {"params": "parameters", "macs": "multiply-accumulates per image", "latency_ms": "ms for one image (torch, folded)"}


def compare(folder, pattern, latencies_of):
    """(table, figure) of accuracy against parameters, multiply-accumulates and latency, of the runs of a folder that match.

    `latencies_of` gives the milliseconds of the networks of a list of configs.
    """
    results = results_of_runs(Run.finished(pattern, folder))
    for result, milliseconds in zip(results, latencies_of([result.config for result in results]), strict=True):
        for metrics in result.metrics.values():
            metrics["latency_ms"] = milliseconds
    return cost_table(results, COSTS), draw_costs(results, f"finished runs '{pattern}'", COSTS)
