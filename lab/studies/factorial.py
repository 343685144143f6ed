"""Factorial studies: every combination of several factors, or half of them, by a file or from the command line."""

from foundation.errors import UserError
from foundation.flags import read_setting
from foundation.grammar import listed
from foundation.paths import short_name
from lab.reports.factorial import LEAST_HALVED, Factor, combinations_of, effects_of, name_of, settings_of
from lab.studies.asked import ON_THE_COMMAND_LINE, SCALE, SEEDS, check_not_taken
from lab.studies.study import LONGEST, Arm, Contrast, Scale, Study

OPTIONS = ("factor", "fraction")
FRACTIONS = ("full", "half")
MOST = 8  # factors: 256 arms, or 128 in a half fraction


def add_arguments(group):
    group.add_argument(
        "--factor",
        action="append",
        default=[],
        metavar="NAME=WITHOUT,WITH",
        help="a setting and its two values, once for each factor; all combinations are trained",
    )
    group.add_argument(
        "--fraction",
        choices=FRACTIONS,
        help=f"half of the combinations tell main effects and pairs of {LEAST_HALVED} or more factors"
        f" (default: full, half from {LEAST_HALVED} factors on)",
    )


def answer(arguments):
    """Answer what the command line asks; the study is then named by its factors. Returns the exit code."""
    from lab.studies.running import answer

    arguments.name, study = asked(arguments.factor, arguments.fraction)
    return answer(study, arguments)


def asked(texts, fraction=None):
    """Return the name and the Study of factors such as "mixup_alpha=0,0.2". Raises UserError for factors that can't be."""
    factors = tuple(_factor_of(text) for text in texts)
    names = [next(iter(factor.having)) for factor in factors]
    if len(set(names)) < len(names):
        raise UserError(f"two factors are the same setting: {next(name for name in names if names.count(name) > 1)}")
    if not 2 <= len(factors) <= MOST:
        example = "study.py factorial --factor mixup_alpha=0,0.2 --factor padding=zero,reflect"
        raise UserError(f"a factorial study takes 2 to {MOST} factors, not {len(factors)}, such as: python {example}")
    if fraction == "half" and len(factors) < LEAST_HALVED:
        raise UserError(f"--fraction half takes {LEAST_HALVED} factors or more: fewer leave pairs that can't be told apart")
    is_half = len(factors) >= LEAST_HALVED if fraction is None else fraction == "half"
    study = factorial(
        factors,
        is_half,
        question=f"What do {listed([factor.name for factor in factors])} bring, alone and together?",
        source=ON_THE_COMMAND_LINE,
        scales={SCALE: Scale({}, seeds=SEEDS)},
    )
    return short_name(f"factorial-{'-'.join(names)}", LONGEST), study


def factorial(factors, is_half=False, **declared) -> Study:
    """Return the Study of all combinations of factors, or of half of them; `declared` are other fields of Study."""
    arms = tuple(Arm(name_of(one, factors), settings_of(one, factors)) for one in combinations_of(factors, is_half))
    contrasts = tuple(Contrast(name, weights) for name, weights in effects_of(factors, is_half).items())
    return Study(arms=arms, reference=arms[0].name, contrasts=contrasts, factors=tuple(factors), is_half=is_half, **declared)


def _factor_of(text):
    name, _, values = text.partition("=")
    two = values.split(",")
    if len(two) != 2:
        raise UserError(f"--factor '{text}' has {len(two)} values, allowed: two, without and with, such as mixup_alpha=0,0.2")
    (name, without), (_, having) = (read_setting(f"{name.strip()}={value.strip()}") for value in two)
    check_not_taken(name)
    if without == having:
        raise UserError(f"--factor '{text}' has the same value twice")
    return Factor(f"{name}={having}", {name: without}, {name: having})
