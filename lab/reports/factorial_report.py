"""Blocks of the report of a factorial study: how the gain of all factors is shared out, and what can't be told apart."""

from lab.reports import cells
from lab.reports.comparisons import Comparison
from lab.reports.factorial import aliases_of, gain_weights, shapley_weights
from lab.reports.statistics import weighted_values

READING_OF_EFFECTS = (
    "A main effect is the mean of all arms with a factor minus that of all arms without it. An interaction is half of what the"
    " effect of one factor gains when the other is there: above zero they help one another, below zero they do the same work"
    " twice. Interactions of three factors or more are not tested."
)
READING_OF_SHARES = (
    "A share is what a factor adds, averaged over all orders in which the factors can be added to the network without any"
    " (Shapley 1953). An ablation that adds one after the other measures a single order. The shares sum to the gain."
)
READING_OF_HALF = (
    "Half of the combinations are measured. Each effect is estimated together with the one of the factors that it leaves out,"
    " which is taken for zero; the shares are those of the model of main effects and pairs, and sum to the gain that it fits."
)


def factorial_blocks(study, results):
    """Yield the blocks; none if the study has no factors or an arm of its design has no result."""
    if not study.factors:
        return
    yield "text", READING_OF_EFFECTS
    rows = share_rows(study, results)
    yield "heading", "Shares of the gain"
    if rows is None:
        yield "text", "There is no seed yet with a result of every combination."
    else:
        yield "table", [["factor", "share", "95 % interval", "simultaneous"], *rows]
        yield "text", READING_OF_HALF if study.is_half else READING_OF_SHARES
    if study.is_half:
        yield "list", [f"{effect} can't be told from {other}" for effect, other in aliases_of(study.factors).items()]


def share_rows(study, results):
    """Return a row for the share of each factor and one for the gain; None if no seed has a result of every arm."""
    accuracies = {result.name: result.accuracies for result in results}
    weights = shapley_weights(study.factors, study.is_half)
    all_of_them = "fitted gain of all" if study.is_half else "gain of all"
    wanted = weights | {all_of_them: gain_weights(study.factors, study.is_half)}
    if not all(accuracies.keys() >= one.keys() for one in wanted.values()):
        return None
    values = {name: tuple(weighted_values(one, accuracies).values()) for name, one in wanted.items()}
    if not all(values.values()):
        return None
    return [_row(Comparison(name, None, own, family=len(wanted))) for name, own in values.items()]


def _row(share):
    interval = cells.interval(share.difference.interval, "+")
    return [share.name, f"{share.difference.mean:+.2f}", interval, cells.interval(share.simultaneous, "+")]
