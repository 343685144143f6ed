"""Factorial designs: which combinations are measured, what their effects are, and how the gain of all factors is shared out.

Effects are those of Box, Hunter & Hunter 2005 (Statistics for experimenters, chapters 5 and 6), shares are Shapley values
(Shapley 1953). All of them are weighted sums of arms, computed seed by seed: intervals and tests are those of paired differences.
"""

from dataclasses import dataclass
from itertools import combinations
from math import factorial

NONE = "none of them"
LEAST_HALVED = 5  # factors; a half fraction of fewer confounds pairs of factors with one another


@dataclass(frozen=True)
class Factor:
    """Something that an arm has or has not: the settings with it and those without."""

    name: str
    without: dict
    having: dict


def combinations_of(factors, is_half=False):
    """Return the combinations that are measured, each as the frozenset of names of factors that it has.

    A half fraction (defining relation I = +AB...) holds those that lack an even number of factors: all factors together, and none
    of them where their number is even.
    """
    names = [factor.name for factor in factors]
    sizes = [size for size in range(len(names) + 1) if not is_half or (len(names) - size) % 2 == 0]
    return [frozenset(chosen) for size in sizes for chosen in combinations(names, size)]


def name_of(combination, factors):
    """Return the name of the arm with these factors, in the order of all factors."""
    return " + ".join(factor.name for factor in factors if factor.name in combination) or NONE


def settings_of(combination, factors):
    """Return the settings of the arm with these factors."""
    chosen = (factor.having if factor.name in combination else factor.without for factor in factors)
    return {name: value for settings in chosen for name, value in settings.items()}


def effects_of(factors, is_half=False):
    """Return {name: {arm: weight}} of the main effect of each factor and of the interaction of each pair.

    A main effect is the mean of the arms with the factor minus the mean of those without. An interaction is half of what the
    effect of one factor gains when the other is there.
    """
    measured = combinations_of(factors, is_half)
    found = {}
    for size in (1, 2):
        for chosen in combinations([factor.name for factor in factors], size):
            signs = {one: _sign(one, chosen) for one in measured}
            found[" x ".join(chosen)] = {name_of(one, factors): sign * 2 / len(measured) for one, sign in signs.items()}
    return found


def _sign(combination, chosen):
    return -1 if sum(name not in combination for name in chosen) % 2 else 1


def shapley_weights(factors, is_half=False):
    """Return {factor: {arm: weight}}: the share of each factor in the gain of all of them over none.

    A share is what the factor adds, averaged over all orders in which factors can be added. The shares sum to the gain. In a half
    fraction not every order is measured. There the shares are those of the model of main effects and interactions of pairs, in
    which a pair adds as much in one order as it takes in another: they are the main effects, and sum to the gain that this model
    fits.
    """
    names, effects = [factor.name for factor in factors], effects_of(factors, is_half)
    if is_half:
        return {name: effects[name] for name in names}
    count, found = len(names), {}
    for name in names:
        weights = {}
        for without in combinations_of([factor for factor in factors if factor.name != name]):
            orders = factorial(len(without)) * factorial(count - len(without) - 1) / factorial(count)
            weights[name_of(without | {name}, factors)] = orders
            weights[name_of(without, factors)] = -orders
        found[name] = weights
    return found


def gain_weights(factors, is_half=False):
    """Return {arm: weight} of the gain that the shares sum to: of all factors over none, as measured or (half) as fitted."""
    if not is_half:
        return {name_of({factor.name for factor in factors}, factors): 1.0, NONE: -1.0}
    total = {}
    for weights in shapley_weights(factors, is_half).values():
        for arm, weight in weights.items():
            total[arm] = total.get(arm, 0.0) + weight
    return total


def aliases_of(factors) -> dict[str, str]:
    """Return {effect: what it can't be told from in a half fraction}."""
    names = [factor.name for factor in factors]
    sets = [chosen for size in (1, 2) for chosen in combinations(names, size)]
    return {" x ".join(chosen): " x ".join(name for name in names if name not in chosen) for chosen in sets}
