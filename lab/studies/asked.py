"""A study that is asked on the command line: its arms are settings, the first is the reference."""

from foundation.errors import UserError
from foundation.flags import read_setting
from foundation.grammar import listed
from lab.studies.study import LONGEST, TAKEN, Arm, Scale, Study

OPTIONS = ("arm",)
SCALE = "asked"
SEEDS = 3  # fewer give no verdict


def add_arguments(group):
    group.add_argument(
        "--arm",
        action="append",
        default=[],
        metavar="NAME=VALUE[,NAME=VALUE]",
        help="settings of one arm, once for each arm; others are compared with the first",
    )


def answer(arguments):
    """Answer what the command line asks; the study is then named by what it compares. Returns the exit code."""
    from lab.studies.running import answer

    arguments.name, study = compare(arguments.arm)
    return answer(study, arguments)


def compare(arms):
    """Return the name and the Study of arms such as "norm=group,norm_groups=4". Raises UserError for arms that can't be."""
    settings = [_settings_of(text) for text in arms]
    if len(settings) < 2:
        example = 'study.py compare --arm "norm=batch" --arm "norm=group,norm_groups=4"'
        raise UserError(f"a comparison takes two arms or more, such as: python {example}")
    asked = [Arm(_in_words(own), own) for own in settings]
    for place, arm in enumerate(asked):
        if arm.settings in settings[:place]:
            raise UserError(f"two arms are the same: {arm.name}")
    names = list(dict.fromkeys(name for own in settings for name in own))
    study = Study(
        question=f"How do {' and '.join(arm.name for arm in asked)} compare?",
        source=f"asked on the command line, which differs in {listed(names)}",
        arms=tuple(asked),
        reference=asked[0].name,
        scales={SCALE: Scale({}, seeds=SEEDS)},
    )
    return f"compare-{'-'.join(names)}"[:LONGEST], study


def _settings_of(text):
    settings = {}
    for assignment in text.split(","):
        name, value = read_setting(assignment.strip())
        check_not_taken(name)
        if name in settings:
            raise UserError(f"--arm '{text}' gives {name} twice")
        settings[name] = value
    return settings


def check_not_taken(name):
    """Raise a UserError for a setting that the study gives its runs itself."""
    if name in TAKEN:
        raise UserError(f"{name} is not an arm's to be given: --seeds and --output-dir say what runs, and where")


def _in_words(settings):
    return ", ".join(f"{name}={value}" for name, value in settings.items())
