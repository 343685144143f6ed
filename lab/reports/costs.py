"""Accuracy against cost of finished runs, as text."""

from lab.reports.results import pareto_front


def cost_table(results, costs) -> str:
    """One line a result, the most accurate first; `*` marks those on the Pareto front of a cost, a key of `costs`."""
    fronts = {name: pareto_front(results, name) for name in costs}
    lines = [f"{'network':40} {'seeds':>5} {'test accuracy (95 %)':>25} " + " ".join(f"{name:>15}" for name in costs)]
    for result in sorted(results, key=lambda result: -result.accuracy.mean):
        accuracy = result.accuracy
        spread = " ({:.2f} to {:.2f})".format(*accuracy.interval) if accuracy.interval else ""
        numbers = " ".join(_number(result.mean(name)) + (" *"[result in fronts[name]]) for name in costs)
        lines.append(f"{result.name:40} {accuracy.count:5} {f'{accuracy.mean:.2f} %{spread}':>25} {numbers}")
    return "\n".join(lines)


def _number(value):
    return f"{value:14,.0f}" if value >= 1000 else f"{value:14.2f}"
