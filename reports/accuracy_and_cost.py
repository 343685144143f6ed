"""Accuracy of finished runs against what their networks cost."""

from errors import UserError
from reports.costs import cost_table
from reports.figures import LATENCY, draw_costs
from reports.finished import told_apart
from reports.results import results_of_runs, take_latencies
from training.run import Run

COSTS = {"params": "parameters", "macs": "multiply-accumulates per image"} | LATENCY


def compare(folder, pattern, latencies_of):
    """(table, figure) of accuracy against parameters, multiply-accumulates and latency, of the runs of a folder that match.

    `latencies_of` gives the milliseconds of the networks of a list of configs. Raises UserError where none is finished.
    """
    finished = told_apart(Run.finished(pattern, folder))
    if not finished:
        raise UserError(f"none of the runs '{pattern}' in {folder} is finished")
    results = results_of_runs(finished)
    take_latencies(results, latencies_of)
    return cost_table(results, COSTS), draw_costs(results, f"finished runs '{pattern}'", COSTS)
