"""Studies that look at their results while seeds come, and give arms no more seeds when their question is answered."""

from foundation.errors import UserError
from foundation.files import as_json, read_json, write_file
from foundation.grammar import counted
from lab.reports.sequential import FIRST_LOOKS, LookPlan, forecast
from lab.runs.contents import is_number

LEAST = FIRST_LOOKS[0]
MOST = FIRST_LOOKS[-1]
FILE = "looks.json"  # of published results; in a study's folder looks-<scale>.json: the plan with which its looks began


def add_arguments(group):
    group.add_argument(
        "--detect",
        type=float,
        metavar="POINTS",
        help="look after 3, 5, 8, 12 seeds; an arm gets no more when it is shown to differ, or to be the same within the margin"
        " (default: --seeds of every arm)",
    )
    group.add_argument(
        "--most-seeds", type=int, metavar="COUNT", help=f"with --detect: seeds of an arm at most (default: {MOST})"
    )


def check(arguments):
    """Raise a UserError for options that don't go together; set the default of --most-seeds."""
    if arguments.detect is None and arguments.most_seeds is not None:
        raise UserError("--most-seeds is for --detect; a fixed number of seeds: --seeds")
    if arguments.detect is not None and arguments.seeds is not None:
        raise UserError("--seeds fixes the number of seeds, which --detect decides; at most so many: --most-seeds")
    if arguments.detect is not None and arguments.most_seeds is None:
        arguments.most_seeds = MOST


def plan_of(arguments) -> LookPlan | None:
    """Return the LookPlan that the command line asks for, or None for a fixed number of seeds."""
    return LookPlan(arguments.detect, arguments.most_seeds) if arguments.detect is not None else None


def check_plan(plan, study, folder, scale=None):
    """Raise a UserError if the study's looks began by another plan: a plan changed after looks does not hold its error."""
    begun = read_plan(folder, scale)
    if begun and begun != (plan, study.margin):
        (first, margin) = begun
        asked = f"--detect {first.detect:g} --most-seeds {first.most} --margin {margin:g}"
        raise UserError(
            f"the looks recorded in {folder / _file(scale)} began with {asked}, and another plan would not hold the error:"
            " give these again, or choose another --output-dir"
        )


def write_plan(plan, study, folder, scale=None):
    """Write with which plan the looks begin."""
    write_file(folder / _file(scale), as_json({"detect": plan.detect, "most_seeds": plan.most, "margin": study.margin}))


def read_plan(folder, scale=None):
    """Return the (LookPlan, margin) with which the looks of a study began, None if there are none. Raises UserError."""
    path = folder / _file(scale)
    if not path.is_file():
        return None
    begun = read_json(path)
    if (
        not isinstance(begun, dict)
        or begun.keys() != {"detect", "most_seeds", "margin"}
        or not all(map(is_number, begun.values()))
    ):
        raise UserError(f"{path} is damaged: it does not say with which plan the looks began")
    return LookPlan(float(begun["detect"]), int(begun["most_seeds"])), begun["margin"]


def _file(scale):
    return f"looks-{scale}.json" if scale else FILE


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
