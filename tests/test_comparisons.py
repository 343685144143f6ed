"""Comparisons of a study: against independent references, and with known truth by simulation."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from lab.reports.comparison_table import comparison_blocks, record_of
from lab.reports.comparisons import BETTER, NO_TEST, NOT_DISTINGUISHABLE, ONE_SEED, PILOT_ONLY, SAME, WORSE, Comparison, adjusted
from lab.reports.power import detectable_effect, power_of, seeds_needed
from lab.reports.results import Result, questions_of
from lab.reports.statistics import exact_interval
from lab.studies.study import Contrast

SEED = 20_271


@pytest.fixture(scope="module", autouse=True)
def _few_objects_to_collect():
    """statsmodels collects garbage at every adjustment, which takes 50 ms beside Keras."""
    gc.freeze()
    yield
    gc.unfreeze()


CLAIMS = {BETTER, WORSE}
differences = st.lists(st.floats(-50, 50), min_size=3, max_size=8).filter(lambda values: np.std(values) > 1e-3)


def compared(*families, margin=None):
    """The comparisons of lists of paired differences, as one family."""
    return adjusted([Comparison(f"arm {i}", "base", tuple(values)) for i, values in enumerate(families)], margin)


@given(st.lists(differences, min_size=1, max_size=4))
def test_p_values_are_those_of_the_paired_t_test_after_holm(families):
    found = compared(*families)
    wanted = [stats.ttest_1samp(values, 0).pvalue for values in families]
    assert [one.p for one in found] == pytest.approx(wanted)
    assert [one.adjusted for one in found] == pytest.approx(multipletests(wanted, method="holm")[1])
    for one in found:
        assert one.p <= one.adjusted <= 1
        assert (one.verdict in CLAIMS) == (one.adjusted <= 0.05)
        assert (one.verdict == BETTER) <= (one.difference.mean > 0)


def test_holm_by_hand():
    # Holm 1979: sorted p times 4, 3, 2, 1, never falling. The p-values are those of t tests with two degrees of freedom.
    def values_with(p):
        t = stats.t.isf(p / 2, 2)
        return np.array([-1.0, 0.0, 1.0]) + t / 3**0.5  # deviation 1, mean t / sqrt(3)

    found = compared(*map(values_with, (0.01, 0.04, 0.03, 0.005)))
    assert [one.adjusted for one in found] == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(differences, min_size=1, max_size=4), st.floats(0.1, 20))
def test_sameness_is_that_of_two_one_sided_tests(families, margin):
    found = compared(*families, margin=margin)
    wanted = [ttost_paired(np.array(values), np.zeros(len(values)), -margin, margin)[0] for values in families]
    assert [one.p_same for one in found] == pytest.approx(multipletests(wanted, method="holm")[1], abs=1e-9)


def test_arms_that_differ_by_little_are_the_same_within_a_margin_and_not_without_one():
    close = [0.1, -0.1, 0.05, -0.02, 0.03]
    (without,), (with_margin,) = compared(close), compared(close, margin=0.5)
    assert (without.verdict, with_margin.verdict) == (NOT_DISTINGUISHABLE, SAME)
    assert "the same as base within 0.5 points" in with_margin.sentence()
    (small,) = compared([0.1, 0.11, 0.09, 0.1, 0.12], margin=0.5)
    assert small.verdict == BETTER and "within 0.5 points all the same" in small.sentence()


@given(differences, st.integers(1, 8))
def test_simultaneous_intervals_are_bonferronis_and_contain_the_single_ones(values, count):
    one = compared(*[values] * count)[0]
    wanted = stats.ttest_1samp(values, 0).confidence_interval(1 - 0.05 / count)
    assert one.simultaneous == pytest.approx((wanted.low, wanted.high))
    assert one.simultaneous[0] <= one.difference.interval[0] + 1e-9 and one.difference.interval[1] <= one.simultaneous[1] + 1e-9


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.1], [5.0, 5.0], [5.0, 5.0, 5.0]])
def test_few_or_equal_differences_have_no_verdict_and_no_word_of_one(values):
    (one,) = compared(values, margin=0.5)
    assert one.verdict == {1: ONE_SEED, 2: PILOT_ONLY, 3: NO_TEST}[len(values)]
    said = str(list(comparison_blocks([one], 0.5))) + str(record_of(one))
    assert "better" not in said and "worse" not in said and "is the same as" not in said
    assert ("a pilot of two seeds" in said) == (len(values) == 2)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2), st.integers(1, 30))
def test_two_seeds_are_never_better_or_worse(values, count):
    assert {one.verdict for one in compared(*[values] * count, margin=1e3)} == {PILOT_ONLY}


def test_a_comparison_without_a_test_still_counts():
    lone, missing = [1.0, 1.1, 0.9], Comparison("late", "base", ())
    (one,) = compared(lone)
    first, second, third = adjusted([Comparison("arm", "base", tuple(lone)), missing, Comparison("same", "base", (0.0,) * 3)])
    assert first.adjusted == pytest.approx(3 * one.p) and second.adjusted is third.adjusted is None


def test_what_is_not_distinguishable_says_what_would_have_been():
    (one,) = compared([2.0, -1.0, 0.5, 1.5, -0.5])
    sentence = one.sentence()
    assert f"detect {one.detectable:.2f} points with 80 % power" in sentence and f"about {one.seeds_needed:,} seeds" in sentence
    (zero,) = compared([1.0, -1.0, 0.0])
    assert "takes more than 10,000 seeds" in zero.sentence()


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 34), (0.8, 15), (1.0, 10), (0.2, 199)])  # G*Power 3, two-tailed, 0.05
def test_seeds_needed_are_those_of_the_tables(effect, seeds):
    assert seeds_needed(effect, 0.05) == seeds


@pytest.mark.parametrize("seeds", [5, 8, 20, 100])
def test_power_is_that_of_statsmodels(seeds):
    assert detectable_effect(seeds, 0.05) == pytest.approx(TTestPower().solve_power(nobs=seeds, alpha=0.05, power=0.8), rel=1e-3)
    assert power_of(0.5, seeds, 0.01) == pytest.approx(TTestPower().power(0.5, seeds, 0.01), abs=1e-3)


@given(st.integers(3, 200), st.integers(1, 50))
def test_what_is_detectable_is_detected_with_just_the_power_promised(seeds, family):
    effect = detectable_effect(seeds, 0.05 / family)
    assert power_of(effect, seeds, 0.05 / family) == pytest.approx(0.8, abs=1e-3)
    assert abs(seeds_needed(effect * 1.001, 0.05 / family) - seeds) <= 1


def test_the_effect_size_is_hedges():
    values = np.array([1.0, 2.0, 4.0, 3.0, 6.0])
    (one,) = compared(values)
    assert one.effect == pytest.approx((1 - 3 / (4 * 4 - 1)) * values.mean() / values.std(ddof=1), rel=0.01)  # his approximation


def test_an_exact_interval_of_180_images():
    low, high = exact_interval(171 / 180, 180)
    assert (low, high) == pytest.approx((stats.beta.ppf(0.025, 171, 10), stats.beta.ppf(0.975, 172, 9)))


def study_of(accuracies):
    """Comparisons with the reference in a made-up study: `accuracies` are (arms, seeds), the reference first."""
    return compared(*(accuracies[1:] - accuracies[0]))


@pytest.mark.parametrize("seeds", [3, 5])
def test_studies_of_equal_arms_make_a_false_claim_in_at_most_5_of_100(seeds):
    random, studies = np.random.default_rng(SEED), 1000
    false = sum(
        any(one.verdict in CLAIMS for one in study_of(random.normal(0, 1, (7, seeds)) + random.normal(0, 2, seeds)))
        for _ in range(studies)
    )
    assert stats.binomtest(false, studies).proportion_ci(0.95).high <= 0.065, false


def test_arms_that_differ_by_the_margin_are_called_the_same_in_at_most_5_of_100_studies():
    random, studies = np.random.default_rng(SEED), 1000
    false = sum(any(one.is_same for one in compared(*random.normal(1, 0.4, (5, 6)), margin=1.0)) for _ in range(studies))
    assert stats.binomtest(false, studies).proportion_ci(0.95).high <= 0.065, false


def test_a_detectable_difference_is_detected_in_80_of_100_studies():
    random, studies, seeds, family = np.random.default_rng(SEED), 1000, 5, 4
    difference = detectable_effect(seeds, 0.05 / family)
    shift = np.array([difference, 0, 0, 0])[:, None]
    found = [compared(*(random.normal(0, 1, (family, seeds)) + shift))[0].verdict for _ in range(studies)]
    interval = stats.binomtest(found.count(BETTER), studies).proportion_ci(0.99)
    assert interval.low <= 0.8 <= interval.high + 0.01 and found.count(WORSE) == 0


def test_contrasts_belong_to_the_family_and_are_told_from_none():
    contrast = Contrast.of_gains("the gain", ("a", "b"), ("c", "d"))
    accuracies = {"a": [9.0, 9.1, 9.2], "b": [1.0, 1.0, 1.0], "c": [3.0, 3.1, 3.1], "d": [2.0, 2.0, 2.0]}
    results = [Result(name, None, None, dict(enumerate(values)), {}, {}) for name, values in accuracies.items()]
    (asked,) = questions_of(SimpleNamespace(contrasts=[contrast]), results)
    (one,) = adjusted([Comparison(asked.name, asked.other, tuple(asked.values.values()))])
    assert one.values == pytest.approx((7.0, 7.0, 7.1)) and "the gain: +7.03 points, different from none" in one.sentence()
    assert asked.arms == {"a", "b", "c", "d"}
