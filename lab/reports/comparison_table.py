"""Table and sentences of a study's comparisons, for its report, and their records for programs."""

from foundation.grammar import counted
from lab.reports import cells
from lab.reports.comparisons import ALPHA, PILOT, PILOT_ONLY, p_in_words
from lab.reports.power import MOST_SEEDS, POWER

# {head: function from a Comparison to its cell}
_COLUMNS = {
    "comparison": lambda one: one.label,
    "verdict": lambda one: one.verdict,
    "seeds": lambda one: str(len(one.values)),
    "difference": lambda one: f"{one.difference.mean:+.2f}",
    "95 % interval": lambda one: cells.interval(one.difference.interval, "+"),
    "simultaneous": lambda one: cells.interval(one.simultaneous, "+"),
    "effect size": lambda one: cells.number(one.effect, "+.2f"),
    "p": lambda one: p_in_words(one.p),
    "p (Holm)": lambda one: p_in_words(one.adjusted),
    "detectable": lambda one: cells.number(one.detectable, ".2f"),
    "seeds needed": lambda one: _seeds_needed(one),
}
_LOOK = {"look": lambda one: f"{len(one.looks.pairs)}, {'answered' if one.is_answered else 'open'}"}
_P_OF_SAMENESS = {"p of sameness (Holm)": lambda one: p_in_words(one.p_same)}


def comparison_blocks(comparisons, margin):
    """Yield the table, a sentence for each comparison, and how to read them, as blocks of `lab.reports.page`."""
    if not comparisons:
        yield "list", ["No two arms have two seeds in common yet."]
        return
    has_looks = any(one.looks for one in comparisons)
    columns = _COLUMNS | (_P_OF_SAMENESS if margin else {}) | (_LOOK if has_looks else {})
    yield "table", [list(columns), *([cell(one) for cell in columns.values()] for one in comparisons)]
    yield "list", [one.sentence() for one in comparisons]
    yield "text", " ".join(_reading(comparisons, margin))


def _seeds_needed(one):
    if one.detectable is None:
        return "-"
    return f"> {MOST_SEEDS:,}" if one.seeds_needed is None else f"{one.seeds_needed:,}"


def _reading(comparisons, margin):
    """Yield sentences on how the verdicts were found."""
    family = counted(comparisons[0].family, "comparison")
    if any(one.verdict == PILOT_ONLY for one in comparisons):
        yield (
            "Two seeds are a pilot: they show that an arm trains and what order of difference to expect, and give no verdict,"
            f" whatever p is. Verdicts take {PILOT + 1} seeds or more."
        )
    yield (
        f"The family is {family}. A verdict takes p after Holm of at most {ALPHA}: then the probability of one false claim or"
        " more in this study is at most 5 %. Simultaneous intervals hold all together (Bonferroni). The effect size is the"
        " difference in deviations of the paired differences (Hedges' g). Detectable is the smallest difference that this"
        f" number of seeds with this spread finds with {100 * POWER:.0f} % power; seeds needed are those that find the"
        " difference seen with that power, if it is the true one."
    )
    if any(one.looks for one in comparisons):
        yield (
            "The study looked at its results while seeds came. p is sequential: the smallest error for which one of the looks"
            " so far has crossed its boundary (alpha spending, Lan & DeMets 1983, for t statistics). Intervals are repeated"
            " confidence intervals, which hold at all looks together and are wider than those of a fixed number of seeds."
            " A difference that is found early is on average somewhat too large."
        )
    if margin:
        yield f"Arms are called the same if two one-sided tests, after Holm, show a difference of less than {margin:g} points."


def record_of(one):
    """Return a comparison as a record of comparisons.json."""
    return {
        "name": one.name,
        "versus": one.other,
        "seeds": len(one.values),
        "difference": one.difference.mean,
        "deviation": one.difference.deviation,
        "interval": one.difference.interval,
        "simultaneous_interval": one.simultaneous,
        "effect_size": one.effect,
        "p": one.p,
        "p_after_holm": one.adjusted,
        "family": one.family,
        "margin": one.margin,
        "p_of_sameness": one.p_same,
        "detectable": one.detectable,
        "seeds_needed": one.seeds_needed,
        "look": one.looks and len(one.looks.pairs),
        "verdict": one.verdict,
    }
