"""A study that is asked on the command line: its arms are settings, or those of runs; the first is the reference."""

from dataclasses import replace

from foundation.errors import UserError
from foundation.flags import read_setting
from foundation.grammar import listed
from foundation.paths import short_name
from lab.studies.protocol import PROTOCOL
from lab.studies.study import LONGEST, TAKEN, Arm, Scale, Study

OPTIONS = ("arm", "runs", "save")
SCALE = "asked"
SEEDS = 3  # fewer give no verdict
ON_THE_COMMAND_LINE = "asked on the command line"
DATA = {"dataset", "val_fraction", "class_seed", "group_by"}  # settings on which it depends which images test, val and train hold


def add_arguments(group):
    group.add_argument(
        "runs", nargs="*", metavar="RUN", help="runs whose settings are the arms: each is repeated with more seeds (or --arm)"
    )
    group.add_argument(
        "--arm",
        action="append",
        default=[],
        metavar="NAME=VALUE[,NAME=VALUE]",
        help="settings of one arm, once for each arm; others are compared with the first",
    )
    group.add_argument("--save", metavar="NAME", help="train nothing: write the comparison as the study lab/studies/NAME.py")


def answer(arguments):
    """Answer what the command line asks; the study is then named by what it compares. Returns the exit code."""
    from lab.studies.running import answer, overrides_of
    from lab.studies.saving import save

    if arguments.arm and arguments.runs:
        raise UserError("the arms are either runs or settings: leave out --arm, or the names of runs")
    if arguments.runs:
        arguments.name, study = compare_runs(arguments.runs, arguments.output_dir)
        print(study.remarks[0])
    else:
        arguments.name, study = compare(arguments.arm)
    if not arguments.save:
        return answer(study, arguments)
    settings = overrides_of(arguments)
    study.plan(arguments.name, SCALE, study.arms, 1, arguments.output_dir, settings)  # raises what can't be
    study = replace(study, margin=arguments.margin) if arguments.margin else study
    path = save(arguments.save, study, arguments.seeds or SEEDS, settings)
    print(f"{path.parent.parent.name}/{path.parent.name}/{path.name} is written; ask it by: python study.py {arguments.save}")
    return 0


def compare(arms):
    """Return the name and the Study of arms such as "norm=group,norm_groups=4". Raises UserError for arms that can't be."""
    settings = [_settings_of(text) for text in arms]
    if len(settings) < 2:
        example = 'study.py compare --arm "norm=batch" --arm "norm=group,norm_groups=4"'
        raise UserError(f"a comparison takes two arms or more, such as: python {example}")
    return _study_of(settings, ON_THE_COMMAND_LINE)


def compare_runs(names, output_dir):
    """Return the name and the Study whose arms are the settings of runs. Raises UserError for runs that can't be compared."""
    from lab.runs.run import Run
    from lab.runs.same_settings import change_in_words, changes_of

    if len(names) < 2:
        raise UserError("a comparison takes two runs or more: python study.py compare RUN RUN")
    configs = [Run.find(name, output_dir).read_config() for name in names]
    first = configs[0]
    said = []
    for name, config in zip(names[1:], configs[1:], strict=True):
        changed = {setting: values for setting, values in changes_of(first, config).items() if setting != "seed"}
        if not changed:
            raise UserError(f"runs '{names[0]}' and '{name}' have the same settings but for the seed: nothing is to be compared")
        if other := [change_in_words(one, *values) for one, values in changed.items() if one in DATA]:
            raise UserError(f"runs '{names[0]}' and '{name}' are of other data ({', '.join(other)})")
        said.append(f"{names[0]} -> {name}: {', '.join(change_in_words(one, *values) for one, values in changed.items())}")
    values = {name: [getattr(config, name) for config in configs] for name in PROTOCOL}
    differing = [name for name, own in values.items() if any(value != own[0] for value in own)]
    settings = [{name: values[name][place] for name in differing} for place in range(len(configs))]
    shared = {name: own[0] for name, own in values.items() if name not in differing and own[0] != PROTOCOL[name]}
    return _study_of(settings, f"the settings of runs {listed(names)}", shared, (f"What differs: {'; '.join(said)}.",))


def _study_of(settings, source, shared=None, remarks=()):
    """Return the name and the Study of arms with these settings."""
    asked = [Arm(_in_words(own), own) for own in settings]
    for place, arm in enumerate(asked):
        if arm.settings in settings[:place]:
            raise UserError(f"two arms are the same: {arm.name}")
    names = list(dict.fromkeys(name for own in settings for name in own))
    study = Study(
        question=f"How do {listed([arm.name for arm in asked])} compare?",
        source=f"{source}, which differs in {listed(names)}" if source == ON_THE_COMMAND_LINE else source,
        arms=tuple(asked),
        reference=asked[0].name,
        shared=shared or {},
        scales={SCALE: Scale({}, seeds=SEEDS)},
        remarks=remarks,
    )
    return short_name(f"compare-{'-'.join(names)}", LONGEST), study


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
        raise UserError(f"an arm can't set {name}: --seeds and --output-dir choose how many runs there are, and where")
    if name in DATA:
        raise UserError(f"an arm can't set {name}: arms are compared on the same images, which --data or --set choose for all")


def _in_words(settings):
    return ", ".join(f"{name}={value}" for name, value in settings.items())
