"""Pictures of a study's report, and the records of its runs that they are drawn from."""

from functools import partial

from lab.reports.figures import TRAINING_COSTS, differing, draw_costs, draw_curves, draw_differences
from lab.reports.flow import draw_flow
from lab.reports.measures import measured
from lab.runs.contents import CURVES, flow_of


def report_pictures(session, results, comparisons):
    """Return {name: function that draws the figure} of those that apply, in order."""
    pictures = {"curves": lambda: draw_curves(curves_of(session), session.title)}
    if comparisons:
        pictures["differences"] = partial(draw_differences, comparisons, session.title, [result.name for result in results])
    if not session.study.factors and (
        costs := differing(results, TRAINING_COSTS | {name: each.label for name, each in measured(results).items()})
    ):
        pictures["costs"] = partial(draw_costs, results, session.title, costs)
    if flows := flows_of(session.runs):
        pictures["gradients"] = partial(draw_flow, flows, "gradient_norm")
    return pictures


def curves_of(session):
    """Return {name: histories} of the curves that are drawn: of each arm, or with and without each factor of a study."""
    histories, study = histories_of(session.runs), session.study
    if not study.factors:
        return histories
    found = {}
    for factor in study.factors:
        having = {arm.name for arm in study.arms if factor.having.items() <= arm.settings.items()}
        for word, arms in (("with", having), ("without", histories.keys() - having)):
            found[f"{word} {factor.name}"] = [history for arm in histories if arm in arms for history in histories[arm]]
    return found


def histories_of(runs):
    """Return {arm: [history of each seed that has one]}."""
    histories = {planned.arm: [] for planned in runs}
    for planned in runs:
        history = planned.history()
        if history["epoch"] and history.keys() >= {*CURVES}:
            histories[planned.arm].append(history)
    return histories


def flows_of(runs):
    """Return {arm: gradient norms of its first finished seed}."""
    flows = {}
    for planned in runs:
        if planned.config.track_gradients and planned.is_finished() and planned.arm not in flows:
            flows[planned.arm] = flow_of(planned.run, ("gradient_norm",))
    return flows
