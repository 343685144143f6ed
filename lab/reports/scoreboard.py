"""The scoreboard: what became of claims of papers in published results, from comparisons of at least three seeds."""

from dataclasses import dataclass

from foundation.grammar import counted
from lab.reports import cells
from lab.reports.comparisons import BETTER, NOT_DISTINGUISHABLE, PILOT, SAME, WORSE, Comparison, adjusted
from lab.reports.power import MOST_SEEDS
from lab.reports.statistics import paired_values

HOLDS, FAILS, OPEN = "holds here", "does not hold here", "open"
MARGIN = 0.5  # points of test accuracy within which arms are the same, for studies without a margin of their own
SCALES = ("full", "cpu")  # whose results answer claims, the one that counts more first


@dataclass(frozen=True)
class Score:
    """Verdict on a claim, and the comparison that it rests on with its study and scale; None without any."""

    claim: object  # of `lab.studies.claims`
    verdict: str  # HOLDS, FAILS, OPEN or "the same within ... points"
    comparison: Comparison | None = None
    answer: object = None  # the `lab.reports.collection.Answer` that holds it
    takes: str = ""  # of an open claim: what an answer would take


def scores(claims, answers):
    """Return the Score of every claim, from the Answers of published studies."""
    by_place = {(answer.session.name, answer.session.scale): answer for answer in answers}
    return [_score(claim, list(_evidence(claim, by_place))) for claim in claims]


def _evidence(claim, by_place):
    """Yield (Comparison, Answer) of each check of a claim that has a seed, the one that counts most first."""
    for scale in SCALES:
        for check in claim.checks:
            answer, other = (by_place.get((study, scale)) for study in (check.study, check.other_study or check.study))
            if answer and other:
                found = _across(check, answer, other) if check.other_study else answer.comparison(check.arm, check.other)
                if found and found.values:
                    yield found, answer


def _across(check, answer, other):
    """Return the Comparison of arms of two studies, adjusted as one more of the first one's family.

    Where a study looks at its results while seeds come, each look is another chance of a false claim: it counts as one more.
    """
    arms = answer.accuracies.get(check.arm, {}), other.accuracies.get(check.other, {})
    found = Comparison(check.arm, f"{check.other} of {check.other_study}", tuple(paired_values(*arms).values()))
    plans = [each.session.look_plan for each in (answer, other) if each.session.look_plan]
    other_looks = [Comparison(found.name, found.other, ())] * (max((len(plan.seeds) for plan in plans), default=1) - 1)
    return adjusted([found, *answer.comparisons, *other_looks], MARGIN)[0]


def _score(claim, evidence):
    enough = [(comparison, answer) for comparison, answer in evidence if len(comparison.values) > PILOT]
    if not evidence:
        return Score(claim, OPEN, takes=f"too few runs: `python study.py {claim.checks[0].study} --publish`")
    comparison, answer = (enough or evidence)[0]
    if not enough:
        seeds = counted(len(comparison.values), "seed")
        return Score(claim, OPEN, comparison, answer, f"{seeds} of at least {PILOT + 1}")
    verdict = _verdict(claim.expects, comparison)
    return Score(claim, verdict, comparison, answer, _takes(comparison) if verdict == OPEN else "")


def _verdict(expects, comparison):
    found = comparison.verdict
    if found == SAME:
        return HOLDS if expects == "the same" else f"the same within {comparison.margin:g} points"
    if found not in (BETTER, WORSE):
        return OPEN
    return HOLDS if expects == {BETTER: "more", WORSE: "less"}[found] else FAILS


def _takes(comparison):
    if comparison.verdict != NOT_DISTINGUISHABLE:
        return "differences that vary"
    needed = comparison.seeds_needed
    return (
        f"more than {MOST_SEEDS:,} seeds" if needed is None else f"about {needed:,} seeds, if the difference seen is the true one"
    )


def board(found):
    """Return the scoreboard as rows of a table, the first its head; cells are Markdown."""
    head = ["claim", "the source", "here", "difference", "all together 95 %", "seeds", "where"]
    return [head, *map(_row, found)]


def _row(score):
    claim, one = score.claim, score.comparison
    source = f"{claim.source}{f': {claim.figure}' if claim.figure else ''}"
    here = f"**{score.verdict}**" if score.verdict != OPEN else f"open ({score.takes})"
    if one is None:
        return [claim.sentence, source, here, "-", "-", "0", "-"]
    place = f"[{score.answer.title}](#{score.answer.anchor})"
    numbers = [f"{one.difference.mean:+.2f}", cells.interval(one.simultaneous, "+")]
    return [claim.sentence, source, here, *numbers, str(len(one.values)), place]


def short_board(found):
    """Return the scoreboard for a front page: rows of a table of the answered claims, and how many are open."""
    answered = [score for score in found if score.verdict != OPEN]
    rows = [["claim", "here", "points", "seeds"]]
    for score in answered:
        one = score.comparison
        interval = cells.interval(one.simultaneous, "+")
        rows.append([score.claim.sentence, score.verdict, f"{one.difference.mean:+.2f} {interval}", str(len(one.values))])
    return rows, len(found) - len(answered)
