"""Factorial studies: effects against least squares and a textbook, shares against the definition of Shapley values."""

from itertools import pairwise, permutations
from types import SimpleNamespace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import UserError
from lab.reports.factorial import (
    Factor,
    aliases_of,
    combinations_of,
    effects_of,
    gain_weights,
    name_of,
    shapley_weights,
)
from lab.reports.factorial_report import factorial_blocks
from lab.reports.results import Result, questions_of
from lab.studies import find
from lab.studies.factorial import asked


def factors(count):
    return [Factor("ABCDEFGH"[i], {"n": 0}, {"n": 1}) for i in range(count)]


def weighted(weights, values):
    return sum(weight * values[arm] for arm, weight in weights.items())


def test_effects_of_a_textbook():
    """The pilot plant of Box, Hunter & Hunter (2005, table 5.3): temperature, concentration, catalyst, in standard order."""
    three = [Factor(name, {}, {}) for name in "TCK"]
    order = [name_of({name for bit, name in zip((1, 2, 4), "TCK", strict=True) if i & bit}, three) for i in range(8)]
    yields = dict(zip(order, (60, 72, 54, 68, 52, 83, 45, 80), strict=True))
    found = {name: weighted(weights, yields) for name, weights in effects_of(three).items()}
    assert found == pytest.approx({"T": 23, "C": -5, "K": 1.5, "T x C": 1.5, "T x K": 10, "C x K": 0})


@pytest.mark.parametrize(("count", "is_half"), [(2, False), (3, False), (4, False), (5, True), (6, True), (5, False)])
def test_effects_are_twice_the_coefficients_of_least_squares(count, is_half):
    own = factors(count)
    measured = combinations_of(own, is_half)
    assert len(measured) == 2 ** (count - is_half)
    values = np.random.default_rng(count).normal(80, 3, len(measured))
    signs = {factor.name: np.array([1 if factor.name in one else -1 for one in measured]) for factor in own}
    effects = effects_of(own, is_half)
    columns = [np.prod([signs[name] for name in effect.split(" x ")], axis=0) for effect in effects]
    fitted = sm.OLS(values, sm.add_constant(np.array(columns).T)).fit().params[1:]
    by_name = dict(zip((name_of(one, own) for one in measured), values, strict=True))
    assert [weighted(weights, by_name) for weights in effects.values()] == pytest.approx(2 * fitted)


@pytest.mark.parametrize("count", [5, 6])
def test_a_half_fraction_confounds_each_effect_with_the_one_it_is_said_to(count):
    own = factors(count)
    measured = combinations_of(own, is_half=True)
    signs = {factor.name: np.array([1 if factor.name in one else -1 for one in measured]) for factor in own}
    for effect, other in aliases_of(own).items():
        ours, theirs = (np.prod([signs[name] for name in one.split(" x ")], axis=0) for one in (effect, other))
        assert (ours == theirs).all()
    assert {factor.name for factor in own} in measured and (frozenset() in measured) == (count % 2 == 0)


games = st.integers(1, 4).flatmap(
    lambda count: st.tuples(st.just(count), st.lists(st.floats(0, 100), min_size=2**count, max_size=2**count))
)


@settings(max_examples=60)
@given(games)
def test_shares_are_shapley_values_and_sum_to_the_gain(game):
    count, numbers = game
    own = factors(count)
    values = dict(zip((name_of(one, own) for one in combinations_of(own)), numbers, strict=True))
    shares = {name: weighted(weights, values) for name, weights in shapley_weights(own).items()}
    everything = name_of({factor.name for factor in own}, own)
    assert sum(shares.values()) == pytest.approx(values[everything] - values["none of them"], abs=1e-9)
    assert weighted(gain_weights(own), values) == pytest.approx(values[everything] - values["none of them"])
    orders = list(permutations([factor.name for factor in own]))
    for name, share in shares.items():
        added = [
            values[name_of({*order[: order.index(name) + 1]}, own)] - values[name_of({*order[: order.index(name)]}, own)]
            for order in orders
        ]
        assert share == pytest.approx(np.mean(added), abs=1e-9)


@settings(max_examples=30)
@given(st.sampled_from([5, 6]), st.data())
def test_shares_of_a_half_fraction_sum_to_the_fitted_gain_and_find_what_was_planted(count, data):
    own = factors(count)
    names = [factor.name for factor in own]
    number = st.floats(-5, 5)
    single = {name: data.draw(number) for name in names}
    pairs = {(a, b): data.draw(number) for a, b in pairwise(names)}

    def accuracy(combination):
        sign = {name: 1 if name in combination else -1 for name in names}
        return (
            80 + sum(e / 2 * sign[a] for a, e in single.items()) + sum(e / 2 * sign[a] * sign[b] for (a, b), e in pairs.items())
        )

    values = {name_of(one, own): accuracy(one) for one in combinations_of(own, is_half=True)}
    shares = {name: weighted(weights, values) for name, weights in shapley_weights(own, is_half=True).items()}
    assert shares == pytest.approx(single, abs=1e-9)
    gain = accuracy(set(names)) - accuracy(set())  # the model has no interaction of three, so this holds without measuring both
    assert sum(shares.values()) == pytest.approx(gain, abs=1e-9)
    assert weighted(gain_weights(own, is_half=True), values) == pytest.approx(gain, abs=1e-9)


def results_with(study, accuracy, seeds=3):
    random = np.random.default_rng(0)
    return [
        Result(arm.name, None, None, {seed: accuracy(arm) + random.normal(0, 0.1) for seed in range(seeds)}, {}, {})
        for arm in study.arms
    ]


def test_a_study_asks_for_effects_and_its_report_shares_out_the_gain():
    name, study = asked(["mixup_alpha=0,0.2", "padding=zero,reflect", "label_smoothing=0,0.1"])
    assert name == "factorial-mixup_alpha-padding-l-235d4a23" and len(study.arms) == 8 and not study.is_half
    assert study.arms[0].name == study.reference == "none of them"
    assert study.arms[0].settings == {"mixup_alpha": 0.0, "padding": "zero", "label_smoothing": 0.0}
    results = results_with(study, lambda arm: 80.0 + 3 * (arm.settings["padding"] == "reflect"))
    questions = questions_of(study, results)
    assert [one.name for one in questions][:4] == [
        "mixup_alpha=0.2",
        "padding=reflect",
        "label_smoothing=0.1",
        "mixup_alpha=0.2 x padding=reflect",
    ]
    assert len(questions) == 6 and all(len(one.arms) == 8 for one in questions)
    assert np.mean(list(questions[1].values.values())) == pytest.approx(3, abs=0.3)
    blocks = list(factorial_blocks(study, results))
    (table,) = [content for kind, content in blocks if kind == "table"]
    shares = [float(row[1]) for row in table[1:]]
    assert table[-1][0] == "gain of all" and sum(shares[:-1]) == pytest.approx(shares[-1], abs=0.02)
    results[3].accuracies.clear()
    assert "no seed yet" in str(list(factorial_blocks(study, results)))
    assert list(factorial_blocks(SimpleNamespace(factors=()), results)) == []


def test_tricks_in_half_of_their_combinations_say_what_cannot_be_told_apart():
    study = find("bag_of_tricks_factorial")
    assert len(study.arms) == 32 and len(study.contrasts) == 21 and study.is_half
    said = str(list(factorial_blocks(study, results_with(study, lambda arm: 80.0))))
    assert "Mish can't be told from SE x cosine x label smoothing x mixup x reflection padding" in said
    assert "fitted gain of all" in said


@pytest.mark.parametrize(
    ("texts", "fraction", "words"),
    [
        (["padding=zero,reflect"], None, "takes 2 to 8 factors, not 1"),
        (["padding=zero,reflect", "padding=zero,reflect"], None, "two factors are the same setting: padding"),
        (["padding=zero,reflect", "norm=batch,group,layer"], None, "has 3 values, allowed: two"),
        (["padding=zero,reflect", "n=1,1"], None, "has the same value twice"),
        (["padding=zero,reflect", "seed=1,2"], None, "an arm can't set seed"),
        (["padding=zero,reflect", "nrom=batch,group"], None, "did you mean 'norm'"),
        (["padding=zero,reflect", "n=1,2"], "half", "takes 5 factors or more"),
    ],
)
def test_factors_that_cannot_be_are_one_line(texts, fraction, words):
    with pytest.raises(UserError, match=words):
        asked(texts, fraction)


def test_five_factors_are_half_unless_asked_for_in_full():
    texts = ["padding=zero,reflect", "n=1,2", "mixup_alpha=0,0.2", "activation=relu,mish", "attention=none,se"]
    assert [len(asked(texts, fraction)[1].arms) for fraction in (None, "half", "full")] == [16, 16, 32]
