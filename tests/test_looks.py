"""Looks at studies while seeds come: boundaries against published ones, and the error of whole studies by simulation."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from lab.reports.comparisons import BETTER, SAME, WORSE, Comparison
from lab.reports.looks import Looks, boundaries
from lab.reports.power import power_of
from lab.reports.sequential import LookPlan, Question, follow, pooled_deviation

SEED = 20_272
STUDIES = 1000
PLAN = LookPlan(detect=1.0, most=12)


# Lan & DeMets 1983, two-sided 0.05, five equal looks, many observations: as R's ldbounds and gsDesign print them.
PUBLISHED = {
    "O'Brien-Fleming": (lambda s: 4 * special.ndtr(special.ndtri(0.0125) / s**0.5) / 0.05, [4.877, 3.357, 2.680, 2.290, 2.031]),
    "Pocock": (lambda s: np.log(1 + (np.e - 1) * s), [2.438, 2.427, 2.410, 2.397, 2.386]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_boundaries_of_many_seeds_are_the_published_ones(name):
    spent_as, wanted = PUBLISHED[name]
    found = boundaries(0.05, range(2000, 10_001, 2000), np.linspace(0.2, 1, 5), spent_as=spent_as)
    assert found == pytest.approx(wanted, abs=2e-3)


def test_a_single_look_is_the_t_test():
    values = np.array([0.4, 1.1, 0.3, 0.9, 0.2])
    looks = Looks((5,), 5)
    for alternative, p in (("two-sided", looks.p_two_sided(values)), ("greater", looks.p_above(values, 0.1))):
        wanted = stats.ttest_1samp(values, 0.1 if alternative == "greater" else 0, alternative=alternative)
        assert p == pytest.approx(wanted.pvalue, rel=0.02)
        if alternative == "two-sided":
            assert looks.interval(values, 0.05) == pytest.approx(tuple(wanted.confidence_interval(0.95)), abs=2e-3)


@pytest.mark.parametrize(("pairs", "most"), [((3, 5, 8, 12), 12), ((3, 4, 5), 5), ((2, 7), 8)])
@pytest.mark.parametrize("sides", [1, 2])
def test_each_look_spends_its_share_of_alpha(pairs, most, sides):
    alpha, count = 0.05, 40_000
    shares = [n / most for n in pairs]
    bounds = boundaries(alpha, pairs, shares, sides)
    values = np.random.default_rng(SEED).normal(size=(count, pairs[-1]))
    crossed, spent = np.zeros(count, bool), []
    for n, bound in zip(pairs, bounds, strict=True):
        t = stats.ttest_1samp(values[:, :n], 0, axis=1).statistic
        limit = stats.t.isf(special.ndtr(-bound), n - 1)
        crossed |= (np.abs(t) if sides == 2 else t) > limit
        spent.append(crossed.mean())
    for found, share in zip(spent, shares, strict=True):
        wanted = alpha * share**1.5
        assert abs(found - wanted) < 4 * (wanted / count) ** 0.5


differences = st.lists(st.floats(-20, 20), min_size=12, max_size=12).filter(lambda values: np.ptp(values[:3]) > 1e-3)


@settings(max_examples=50)
@given(differences, st.floats(0.001, 0.2))
def test_p_says_whether_a_look_has_crossed_its_boundary(values, alpha):
    looks = Looks(PLAN.seeds, PLAN.most)
    found = boundaries(alpha, looks.pairs, [n / looks.most for n in looks.pairs])
    ps = [stats.ttest_1samp(values[:n], 0).pvalue for n in looks.pairs]
    excess = max(stats.norm.isf(p / 2) - bound for p, bound in zip(ps, found, strict=True))
    if abs(excess) > 0.02:  # boundaries of levels between those computed are interpolated
        assert (looks.p_two_sided(values) <= alpha) == (excess > 0)


@settings(max_examples=50)
@given(differences)
def test_p_never_rises_while_looks_come_and_agrees_with_its_interval(values):
    seen = [Looks(PLAN.seeds[: k + 1], PLAN.most) for k in range(4)]
    ps = [looks.p_two_sided(values) for looks in seen]
    assert ps == sorted(ps, reverse=True)
    outside = [not low <= 0 <= high for low, high in (one.interval(values[: one.pairs[-1]], 0.05) for one in seen)]
    assert any(outside) == (ps[-1] <= 0.05) or 0.045 < ps[-1] < 0.055


def test_intervals_of_all_looks_hold_together():
    values = np.random.default_rng(SEED).normal(0.7, 1.0, (STUDIES, 12))
    missed = 0
    for study in values:
        intervals = [Looks(PLAN.seeds[: k + 1], 12).interval(study[:n], 0.05) for k, n in enumerate(PLAN.seeds)]
        missed += any(not low <= 0.7 <= high for low, high in intervals)
    assert stats.binomtest(missed, STUDIES, 0.05, alternative="greater").pvalue > 0.001, missed


def check_error(false, studies):
    """At most 5 of 100 studies are false: within chance, and the upper limit is at most 6.5 of 100."""
    assert stats.binomtest(false, studies, 0.05, alternative="greater").pvalue > 0.001, false
    assert stats.binomtest(false, studies).proportion_ci(0.95).high <= 0.065, false


def drawn(shifts, studies, deviation=1.0, seed=SEED):
    """Return paired differences `(studies, arms, seeds)` of arms with `shifts` from a reference that they share."""
    noise = np.random.default_rng(seed).normal(0, deviation / 2**0.5, (studies, len(shifts) + 1, PLAN.most))
    return noise[:, 1:] - noise[:, :1] + np.array(shifts)[:, None]


def questions_of(values):
    """Return the Questions of one study, from its paired differences `(arms, seeds)`."""
    return [Question(f"arm {i}", "base", dict(enumerate(own)), frozenset({f"arm {i}", "base"})) for i, own in enumerate(values)]


def holm(p):
    """Return p-values after Holm along the last axis."""
    order = np.argsort(p, axis=-1)
    steps = np.maximum.accumulate(np.take_along_axis(p, order, -1) * np.arange(p.shape[-1], 0, -1), axis=-1)
    found = np.empty_like(p)
    np.put_along_axis(found, order, steps, -1)
    return found


def simulated(values):
    """Return (claims, seeds) of many studies at once, `(studies, arms)` each, by Holm on the p of each look."""
    claimed, seeds = np.zeros(values.shape[:2], bool), np.full(values.shape[:2], PLAN.most)
    for k, n in reversed(list(enumerate(PLAN.seeds))):
        now = holm(Looks(PLAN.seeds[: k + 1], PLAN.most).p_two_sided(values)) <= 0.05
        claimed, seeds = claimed | now, np.where(now, n, seeds)
    return claimed, seeds


@pytest.mark.parametrize("shifts", [(0.0,) * 4, (0.5, 1.5, 3.0)])
def test_a_study_that_is_followed_look_by_look_ends_as_those_that_are_simulated(shifts):
    values = drawn(shifts, 40)
    for study, claims, seeds in zip(values, *simulated(values), strict=True):
        course = follow(questions_of(study), PLAN, None, lambda arm, seed: True)
        assert [one.verdict in (BETTER, WORSE) for one in course.comparisons] == list(claims)
        assert [len(one.values) for one in course.comparisons] == list(seeds)


# 20,000 studies: with 1,000, an error of exactly 5 % would be seen above 6.5 % in one of two tests' upper limits.
@pytest.mark.parametrize(("shifts", "equal"), [((0.0,), 1), ((0.0,) * 6, 6), ((0.0, 0.0, 4.0, 8.0), 2)])
def test_equal_arms_are_claimed_to_differ_in_at_most_5_of_100_studies(shifts, equal):
    """Alone, among equal ones, and among different ones, whose part of the error Holm gives to what is left."""
    claims, _ = simulated(drawn(shifts, 20_000))
    false = int(claims[:, :equal].any(axis=1).sum())
    print(f"{shifts}: {false} of 20,000 studies with a false claim")
    check_error(false, 20_000)


def test_real_accuracies_drawn_into_two_arms_are_claimed_to_differ_in_few_studies():
    """Accuracies of networks are not normally distributed: those of the published A/A study, divided at random many times."""
    records = [json.loads(path.read_text()) for path in sorted((ROOT / "results" / "aa_test" / "smoke").glob("aa_test-*.json"))]
    accuracies = np.array([100 * record["metrics"]["test"]["accuracy"] for record in records])
    assert len(accuracies) == 40
    drawn = np.random.default_rng(SEED).permuted(np.tile(accuracies, (20_000, 1)), axis=1)
    false = Looks(PLAN.seeds, PLAN.most).p_two_sided(drawn[:, :12] - drawn[:, 12:24]) <= 0.05
    print(f"{false.mean():.1%} of 20,000 studies with a false claim")
    assert false.mean() <= 0.065


def test_arms_that_differ_by_the_margin_are_called_the_same_in_at_most_5_of_100_studies():
    looks = Looks(PLAN.seeds, PLAN.most)
    values = drawn([1.0, -1.0, 1.0], 10_000, deviation=0.4)
    p = np.maximum(looks.p_above(values, -1.0), looks.p_above(-values, -1.0))
    check_error(int((holm(p) <= 0.05).any(axis=1).sum()), 10_000)
    for study, wanted in zip(values[:10], holm(p), strict=False):
        course = follow(questions_of(study), replace(PLAN, detect=1.0), 1.0, lambda arm, seed: True)
        unanswered = [i for i, one in enumerate(course.comparisons) if len(one.values) == PLAN.most]
        assert [course.comparisons[i].is_same for i in unanswered] == [wanted[i] <= 0.05 for i in unanswered]


def fixed_claims(seeds, shifts):
    """Return the claims of fixed plans with Holm's procedure."""
    values = drawn(shifts, 5_000, seed=SEED + 1)[..., :seeds]
    return holm(stats.ttest_1samp(values, 0, axis=2).pvalue) <= 0.05


def test_planted_differences_take_30_percent_fewer_runs_than_a_fixed_plan_of_equal_power():
    shifts = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)  # in deviations: one that is hardly detected, and larger ones
    claims, seeds = simulated(drawn(shifts, 5_000))
    runs = (seeds.sum(axis=1) + seeds.max(axis=1)).mean()  # the reference goes on as long as any arm
    smallest = claims[:, 0].mean()
    fixed = next(n for n in range(3, PLAN.most + 1) if fixed_claims(n, shifts)[:, 0].mean() >= smallest)
    saved = 1 - runs / (fixed * (len(shifts) + 1))
    print(f"power {smallest:.3f} for the smallest: {runs:.1f} runs; a fixed plan takes {fixed} seeds: {saved:.0%} fewer")
    assert saved >= 0.3 and smallest > 0.75 and claims[:, 1:].mean() > 0.99
    assert fixed_claims(fixed, shifts).mean() <= claims.mean() + 0.01


def test_equal_arms_are_called_the_same_with_the_margin_that_is_wished_for():
    courses = [follow(questions_of(one), PLAN, 1.0, lambda arm, seed: True) for one in drawn([0.0, 0.0], 60, deviation=0.5)]
    verdicts = [one.verdict for course in courses for one in course.comparisons]
    assert verdicts.count(SAME) / len(verdicts) > 0.8
    assert np.mean([len(one.values) for course in courses for one in course.comparisons]) < 9


def test_only_open_questions_go_on_and_their_reference_with_them():
    values = {"far": [9.0, 9.2, 9.1], "near": [0.1, -0.4, 0.2]}
    questions = [Question(name, "base", dict(enumerate(own)), frozenset({name, "base"})) for name, own in values.items()]
    course = follow(questions, PLAN, None, lambda arm, seed: seed < 3)
    assert course.looks == 1 and [one.verdict for one in course.comparisons] == ["better", "not distinguishable"]
    assert course.wanted == ({"near", "base"}, 5) and not course.is_over
    assert "answered by look 1" in course.comparisons[0].sentence()
    before = follow(questions, PLAN, None, lambda arm, seed: seed < 2)
    assert before.looks == 0 and before.wanted == ({"near", "far", "base"}, 3)


def test_an_answer_keeps_the_seeds_of_its_look_although_its_arm_goes_on_for_another():
    first = Question("a", "base", dict.fromkeys(range(12), 9.0) | {0: 9.1}, frozenset({"a", "base"}))
    second = Question("b", "a", dict(enumerate([0.1, -0.3] * 6)), frozenset({"a", "b"}))
    course = follow([first, second], PLAN, None, lambda arm, seed: True)
    assert [len(one.values) for one in course.comparisons] == [3, 12] and course.is_over and course.wanted == (frozenset(), 0)


def test_pairs_that_failed_are_missed_and_an_arm_without_any_is_given_up():
    some = Question("some", "base", {0: 0.5, 2: -0.4, 3: 0.3, 4: 0.2}, frozenset({"some", "base"}))
    none = Question("none", "base", {}, frozenset({"none", "base"}))
    course = follow([some, none], PLAN, None, lambda arm, seed: seed < 5)
    assert course.looks == 2 and course.open == [some]
    assert course.comparisons[0].looks == Looks((4,), 12)  # two pairs were no look
    assert course.comparisons[0].verdict == "not distinguishable" and course.comparisons[1].p is None


def test_differences_that_are_all_alike_are_no_answer():
    alike = Question("alike", "base", dict.fromkeys(range(5), 1.0), frozenset({"alike", "base"}))
    course = follow([alike], PLAN, 0.5, lambda arm, seed: seed < 5)
    assert course.open and course.comparisons[0].p is None and course.comparisons[0].verdict == "no test"


@pytest.mark.parametrize(("most", "looks"), [(12, (3, 5, 8, 12)), (10, (3, 5, 8, 10)), (3, (3,)), (20, (3, 5, 8, 12, 18, 20))])
def test_looks_end_at_the_most_seeds(most, looks):
    assert LookPlan(1.0, most).seeds == looks


def test_a_forecast_is_the_first_look_with_the_power_wished_for():
    for deviation in (0.3, 0.5, 0.7):
        seeds = PLAN.seeds_for(deviation, 3)
        at = {n: Looks(PLAN.seeds[: k + 1], 12).nominal(0.05 / 3) for k, n in enumerate(PLAN.seeds)}
        enough = [n for n, level in at.items() if power_of(1 / deviation, n, level) >= 0.8]
        assert seeds == enough[0]
    assert PLAN.seeds_for(3.0, 3) is None


def test_the_pooled_deviation_weighs_by_freedom():
    three, five = [0.0, 1.0, 2.0], [0.0, 2.0, 4.0, 6.0, 8.0]
    found = pooled_deviation([Comparison("a", "b", tuple(values)) for values in (three, five, [1.0])])
    assert found == pytest.approx(((2 * np.var(three, ddof=1) + 4 * np.var(five, ddof=1)) / 6) ** 0.5)
    assert pooled_deviation([Comparison("d", "b", (1.0,))]) is None


def test_a_comparison_with_looks_has_their_intervals():
    values = (1.0, 1.4, 0.7, 1.2, 0.8)
    fixed = Comparison("a", "b", values, family=2)
    one = replace(fixed, looks=Looks((3, 5), 12))
    assert one.difference.interval == pytest.approx(one.looks.interval(values, 0.05))
    assert one.simultaneous == pytest.approx(one.looks.interval(values, 0.025))
    assert one.difference.interval[0] < fixed.difference.interval[0] and one.p > fixed.p and one.detectable > fixed.detectable
