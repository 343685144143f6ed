"""Studies that look at their results while seeds come, and give arms no more seeds when their question is answered."""

from foundation.errors import UserError
from foundation.files import as_json, read_json, write_whole
from foundation.grammar import counted
from lab.reports.sequential import FIRST_LOOKS, LookPlan, forecast

LEAST = FIRST_LOOKS[0]
MOST = FIRST_LOOKS[-1]
FILE = "looks-{scale}.json"  # in the study's folder: the plan with which its looks began


def add_arguments(group):
    group.add_argument(
        "--detect",
        type=float,
        metavar="POINTS",
        help="look after 3, 5, 8, 12 seeds; an arm gets no more when it is shown to differ, or to be the same within the margin"
        " (default: --seeds of every arm)",
    )
    group.add_argument("--most-seeds", type=int, metavar="COUNT", help=f"with --detect: the last look's seeds (default: {MOST})")


def check(arguments):
    """Raise a UserError for options that don't go together; set the default of --most-seeds."""
    if arguments.detect is None and arguments.most_seeds is not None:
        raise UserError("--most-seeds is for --detect; a fixed number of seeds: --seeds")
    if arguments.detect is not None and arguments.seeds is not None:
        raise UserError("--seeds fixes the number of seeds, which --detect decides; at most so many: --most-seeds")
    if arguments.detect is not None and arguments.most_seeds is None:
        arguments.most_seeds = MOST


def plan_of(arguments):
    """Return the LookPlan that the command line asks for, or None for a fixed number of seeds."""
    return LookPlan(arguments.detect, arguments.most_seeds) if arguments.detect is not None else None


def check_plan(plan, study, folder, scale):
    """Raise a UserError if the study's looks began by another plan: a plan changed after looks does not hold its error."""
    path = folder / FILE.format(scale=scale)
    if not path.is_file():
        return
    begun = read_json(path)
    if not isinstance(begun, dict) or begun.keys() != {"detect", "most_seeds", "margin"}:
        raise UserError(f"{path} is damaged: it does not say with which plan the looks began")
    if plan is None or begun != _record(plan, study):
        asked = " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in begun.items())
        raise UserError(
            f"the looks of {folder.name} ({scale}) began with {asked}: another plan after looks does not hold the error; give "
            "these, or another --output-dir"
        )


def write_plan(plan, study, folder, scale):
    """Write with which plan the looks begin."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder, FILE.format(scale=scale), as_json(_record(plan, study)))


def _record(plan, study):
    return {"detect": plan.detect, "most_seeds": plan.most, "margin": study.margin}


def runs_for(course, runs):
    """Return the runs that the next look takes, those first that others start from."""
    arms, seeds = course.wanted
    own = [planned for planned in runs if planned.arm in arms and planned.seed < seeds]
    return list({id(planned): planned for one in own for planned in (one.needs, one) if planned}.values())


def show_forecast(course, runs):
    """Print how many seeds the wish will probably take."""
    for line in forecast(course):
        print(line)
    print(f"at most {counted(len(runs), 'run')} in all")
