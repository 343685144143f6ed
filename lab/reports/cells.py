"""Cells of tables: numbers, intervals and differences as text; what is missing is a dash."""


def number(value, form=",.0f") -> str:
    return "-" if value is None else f"{value:{form}}"


def interval(bounds, sign="") -> str:
    """Return the cell of an interval (low, high)."""
    return "-" if bounds is None else f"[{bounds[0]:{sign}.2f}, {bounds[1]:{sign}.2f}]"


def difference(estimate) -> str:
    """Return the cell of the Estimate of a difference."""
    if estimate is None:
        return "-"
    without = "(one seed)" if estimate.count == 1 else "(each seed)"
    return f"{estimate.mean:+.2f} {without if estimate.interval is None else interval(estimate.interval, '+')}"
