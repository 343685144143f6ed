"""Power of the paired t test: the smallest difference that seeds detect, and the seeds that a difference takes."""

from scipy import optimize, stats

POWER = 0.8
MOST_SEEDS = 10_000  # more are not searched for


def power_of(effect, seeds, alpha) -> float:
    """Return the probability that the two-sided paired t test finds a difference of `effect` deviations on its right side.

    The statistic has a noncentral t distribution with seeds - 1 degrees of freedom and noncentrality effect * sqrt(seeds)
    (Cohen 1988, chapter 2). The tail on the wrong side is left out: a claim of the wrong sign finds nothing.
    """
    freedom = seeds - 1
    return float(stats.nct.sf(stats.t.isf(alpha / 2, freedom), freedom, effect * seeds**0.5))


def detectable_effect(seeds, alpha):
    """Return the effect (in deviations of the paired differences) that so many seeds detect with a power of POWER."""
    # statsmodels' solve_power does not serve here: it returns wrong effects for three seeds at small alpha.
    largest = 4 * float(stats.t.isf(alpha / 2, seeds - 1))
    return optimize.brentq(lambda effect: power_of(effect, seeds, alpha) - POWER, 0, largest)


def seeds_needed(effect, alpha, least=2) -> int | None:
    """Return how many seeds, at the `least`, detect an effect with a power of POWER; None if more than MOST_SEEDS."""
    enough, too_few = MOST_SEEDS, least - 1
    if power_of(effect, enough, alpha) < POWER:
        return None
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        enough, too_few = (middle, too_few) if power_of(effect, middle, alpha) >= POWER else (enough, middle)
    return enough
