"""Claims of papers are answered by comparisons of studies."""

from types import SimpleNamespace

import numpy as np
import pytest

from lab.reports.comparisons import Comparison, adjusted
from lab.reports.scoreboard import FAILS, HOLDS, OPEN, board, scores
from lab.reports.sequential import LookPlan
from lab.studies import find, names
from lab.studies.claims import CLAIMS, SAME, Check, Claim


def test_every_claim_is_answered_by_a_comparison_that_a_study_makes():
    assert len(CLAIMS) >= 12 and len({claim.sentence for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        for check in claim.checks:
            assert {check.study, check.other_study or check.study} <= {*names()}
            study = find(check.study)
            if check.other is None:
                assert check.arm in {contrast.name for contrast in study.contrasts}
            elif check.other_study:
                assert check.other in {arm.name for arm in find(check.other_study).arms}
            else:
                (arm,) = [arm for arm in study.arms if arm.name == check.arm]
                assert (arm.versus or study.reference) == check.other


def answer(*families, margin=0.5, name="resnext", scale="cpu"):
    """An Answer whose comparisons of arms `a`, `b`, ... with `base` have these differences by seed."""
    made = adjusted([Comparison(arm, "base", tuple(values)) for arm, values in zip("abcdef", families, strict=False)], margin)
    by_name = {(one.name, one.other): one for one in made}
    accuracies = {one.name: dict(enumerate(np.add(50, one.values))) for one in made}
    accuracies["base"] = dict.fromkeys(range(9), 50.0)
    return SimpleNamespace(
        session=SimpleNamespace(name=name, scale=scale, look_plan=None),
        comparisons=made,
        comparison=lambda arm, other: by_name.get((arm, other)),
        accuracies=accuracies,
        title=f"{name}, {scale}",
        anchor=f"{name}-{scale}",
    )


ABOVE, BELOW, WITHIN, WIDE = (2.0, 2.1, 1.9, 2.0), (-2.0, -2.1, -1.9, -2.0), (0.01, -0.02, 0.03, 0.0), (-5.0, 6.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("expects", "values", "verdict"),
    [
        ("more", ABOVE, HOLDS),
        ("more", BELOW, FAILS),
        ("less", BELOW, HOLDS),
        ("less", ABOVE, FAILS),
        ("more", WITHIN, "the same within 0.5 points"),
        (SAME, WITHIN, HOLDS),
        (SAME, ABOVE, FAILS),
        ("more", WIDE, OPEN),
        ("more", ABOVE[:2], OPEN),
        ("more", ABOVE[:1], OPEN),
        ("more", (2.0, 2.0, 2.0), OPEN),
        ("more", (), OPEN),
    ],
)
def test_a_verdict_follows_from_what_the_claim_expects_and_from_three_seeds_at_least(expects, values, verdict):
    claim = Claim("a is better", "somebody", "+1", expects, (Check("resnext", "a", "base"),))
    (found,) = scores([claim], [answer(values)])
    assert found.verdict == verdict and bool(found.takes) == (verdict == OPEN)
    assert board([found])[1][5] == str(len(values))


def test_results_of_full_scale_count_more_than_those_of_a_cpu_and_pilots_of_full_scale_do_not():
    claim = Claim("a is better", "somebody", "", "more", (Check("resnext", "a", "base"),))
    small, full, pilot = answer(ABOVE), answer(BELOW, scale="full"), answer(BELOW[:2], scale="full")
    assert scores([claim], [small, full])[0].verdict == FAILS
    assert scores([claim], [small, pilot])[0].verdict == HOLDS
    assert scores([claim], [answer(ABOVE, scale="smoke")])[0].verdict == OPEN


def test_arms_of_two_studies_are_compared_by_seed_as_one_more_of_the_family():
    claim = Claim("a beats c", "somebody", "", "more", (Check("resnext", "a", "b", "depth"),))
    one, other = answer(ABOVE, WIDE), answer(WITHIN, BELOW, name="depth")
    (found,) = scores([claim], [one, other])
    assert found.verdict == HOLDS and found.comparison.family == 3
    assert found.comparison.values == pytest.approx(np.subtract(ABOVE, BELOW))
    assert scores([claim], [one])[0].verdict == OPEN
    other.session.look_plan = LookPlan(1.0, 12)  # after 3, 5, 8 and 12 seeds
    (looked,) = scores([claim], [one, other])
    assert looked.comparison.family == 6 and looked.comparison.adjusted == pytest.approx(2 * found.comparison.adjusted)
