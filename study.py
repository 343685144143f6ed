"""`python study.py NAME` answers a question by runs and statistics; `python study.py` lists the questions."""

import argparse
import fnmatch
import math
from dataclasses import replace

from foundation.errors import UserError
from foundation.grammar import counted
from foundation.paths import typed_path
from foundation.scripts import run_script
from lab import studies

# {option: (engines that use it, default)}
OF_ENGINES = {
    "jobs": (("local",), 1),
    "cpus": (("ray", "slurm"), 1),
    "gpus": (("ray", "slurm"), 0),
    "minutes": (("slurm",), 240),
    "address": (("ray",), None),
}
COMPARE = "compare"
LOWEST = {"seeds": 1, "jobs": 1, "cpus": 1, "gpus": 0, "minutes": 1}


def main():
    arguments = _parse()
    if arguments.results:
        return _collect(arguments)
    if arguments.name is None:
        return _list()
    study = _study(arguments)
    arguments.scale = arguments.scale or study.usual_scale
    if arguments.margin is not None:
        study = replace(study, margin=arguments.margin)
    runs = _plan(study, arguments)
    if arguments.dry_run:
        return _show(runs)
    if arguments.engine == "slurm" and not arguments.report:
        return _queue(arguments, runs)
    return _train_and_report(study, runs, arguments)


def _study(arguments):
    """Return the study that the command line names, or asks by its arms; such a study is then named by what it compares."""
    if arguments.name != COMPARE:
        if arguments.arm:
            raise UserError(f"--arm is not for study '{arguments.name}', allowed with: python study.py {COMPARE}")
        return studies.find(arguments.name)
    from lab.studies.asked import compare

    arguments.name, study = compare(arguments.arm)
    return study


def _list():
    for name in studies.names():
        print(f"{name:20} {studies.find(name).question}")
    return 0


def _collect(arguments):
    """Write RESULTS.md, or another file, from published records, and the scoreboard of a README beside it."""
    from lab.manual.results import published_results, write_scoreboard
    from lab.reports.collection import write_results

    if arguments.name:
        studies.find(arguments.name)
    target = typed_path(arguments.results)
    with published_results(arguments.published_dir, arguments.name) as (answers, scores):
        write_results(answers, scores, target)
        print(f"{arguments.results}: {', '.join(answer.title for answer in answers) or 'nothing published yet'}")
        if not arguments.name:
            write_scoreboard(scores, target.parent / "README.md")
    return 0


def _plan(study, arguments):
    """Return the runs that the command line asks for. Raises UserError for what can't be, before anything is trained."""
    from foundation.flags import read_setting
    from lab.runs.run import NameTaken

    arms = [arm for arm in study.arms_at(arguments.scale) if fnmatch.fnmatchcase(arm.name, arguments.arms)]
    if not arms:
        listed = ", ".join(arm.name for arm in study.arms_at(arguments.scale))
        raise UserError(f"no arm matches '{arguments.arms}' (arms: {listed})")
    chosen = {"dataset": arguments.data, "data_dir": arguments.data_dir, "epochs": arguments.epochs}
    overrides = {name: value for name, value in chosen.items() if value is not None} | dict(map(read_setting, arguments.set))
    folder = _folder(arguments) / arguments.name
    runs = study.plan(arguments.name, arguments.scale, arms, arguments.seeds, folder, overrides)
    try:
        for planned in runs:
            planned.run.check(planned.config)
    except NameTaken as error:
        raise UserError(f"{error}, or choose another --output-dir") from error
    return runs


def _queue(arguments, runs):
    from lab.engines.slurm import write_jobs

    folder = _folder(arguments) / arguments.name
    script = write_jobs(arguments.name, runs, folder, arguments.cpus, arguments.gpus, arguments.minutes)
    print(f"queue it by: bash {script}\nwhat is finished is reported by this command and --report")
    return 0


def _train_and_report(study, runs, arguments):
    """Train the runs and write the report; return 1 if a run failed, else 0."""
    from lab.engines.fleet import run_all
    from lab.reports.live import Live
    from lab.reports.measures import kept_measures
    from lab.runs.environment import typed_command
    from lab.studies.study import SOURCE, Session

    compared = [planned for planned in runs if planned.arm != SOURCE]
    command = typed_command().replace(" --report", "")  # a report names the command that makes what it reports
    session = Session(study, arguments.name, arguments.scale, compared, command)
    publisher = _publisher(arguments, runs)
    live = Live(session, _folder(arguments) / arguments.name)

    def after_epoch():
        live.redraw()
        publisher.publish()

    if not arguments.report:
        run_all(runs, _engine(arguments, runs), live.progress, after_epoch)
    live.finish()
    publisher.publish()
    publisher.publish_measures(kept_measures(live.folder))
    if arguments.publish:
        print(f"{counted(len(publisher.published), 'record')} in {publisher.folder}")
    return 1 if any(planned.failure for planned in runs) else 0


def _publisher(arguments, runs):
    """Return what publishes the runs as they finish; without --publish it has none."""
    from lab.studies.published import Publisher

    return Publisher(arguments.name, arguments.scale, runs if arguments.publish else [], arguments.published_dir)


def _engine(arguments, runs):
    if arguments.engine == "ray":
        from lab.engines.ray_engine import OnRay

        return OnRay(arguments.address, arguments.cpus, arguments.gpus, jobs=len(runs))
    from lab.engines.fleet import Here

    return Here(arguments.jobs)


def _folder(arguments):
    return typed_path(arguments.output_dir) / "studies"


def _parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", help="a study, or compare with --arm; none: list all")
    parser.add_argument(
        "--arm",
        action="append",
        default=[],
        metavar="NAME=VALUE[,NAME=VALUE]",
        help="settings of one arm of compare, once for each arm; others are compared with the first",
    )
    parser.add_argument(
        "--scale", help="smoke (minutes), cpu (an evening on two cores) or full (default: cpu, or the study's only one)"
    )
    parser.add_argument("--seeds", type=int, help="repetitions of every arm (default: the scale's)")
    parser.add_argument(
        "--margin", type=float, help="points of test accuracy: arms shown to differ by less are called the same (default: none)"
    )
    parser.add_argument("--data", help="another data set than the scale's, such as folder:PATH")
    parser.add_argument("--data-dir", help="where data sets lie (default: data)")
    parser.add_argument("--epochs", type=int, help="of every run (default: the scale's)")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="other settings, for all arms"
    )
    parser.add_argument("--arms", default="*", help="shell wildcard (default: all arms)")
    parser.add_argument("--jobs", type=int, help="runs at once on this machine, which share its cores and memory (default: 1)")
    parser.add_argument(
        "--engine",
        choices=("local", "ray", "slurm"),
        default="local",
        help="local: processes of this machine; ray: tasks of a Ray cluster; slurm: writes array jobs (default: %(default)s)",
    )
    parser.add_argument("--address", help="of the Ray cluster, such as auto or ray://head:10001 (default: one on this machine)")
    parser.add_argument("--cpus", type=int, help="of a run by ray or slurm (default: 1)")
    parser.add_argument("--gpus", type=int, help="of a run by ray or slurm (default: 0)")
    parser.add_argument("--minutes", type=int, help="of a job of slurm (default: 240)")
    parser.add_argument("--output-dir", default="output", help="default: %(default)s")
    parser.add_argument("--dry-run", action="store_true", help="show the runs and how long they would take")
    parser.add_argument("--report", action="store_true", help="train nothing: report what is finished")
    parser.add_argument(
        "--publish", action="store_true", help="write a record of each finished run, a few kB, to results/<study>/<scale>/"
    )
    parser.add_argument("--published-dir", default="results", help="where published records lie (default: %(default)s)")
    parser.add_argument(
        "--results", metavar="FILE", help="write the published results of all studies, or of the one named, to such as RESULTS.md"
    )
    arguments = parser.parse_args()
    for name, lowest in LOWEST.items():
        count = getattr(arguments, name)
        if count is not None and count < lowest:
            raise UserError(f"--{name} is {count}, allowed: at least {lowest}")
    if arguments.margin is not None and not 0 < arguments.margin < math.inf:
        raise UserError(f"--margin is {arguments.margin:g}, allowed: points above 0, such as 0.5")
    for name, (engines, default) in OF_ENGINES.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
        elif arguments.engine not in engines:
            raise UserError(f"--{name} is not for engine '{arguments.engine}', allowed with: --engine {' or '.join(engines)}")
    return arguments


def _show(runs):
    """List the runs with the time that each still takes, estimated from a few steps of each arm."""
    from foundation.grammar import duration
    from lab.benchmarks.estimate import seconds_of

    estimates, left = {}, []
    for planned in runs:
        if planned.arm not in estimates:
            estimates[planned.arm] = seconds_of(planned.config)
        state = "finished"
        if not planned.is_finished():
            share = 1 - len(planned.history()["epoch"]) / planned.config.epochs
            left.append(estimates[planned.arm] and estimates[planned.arm] * share)
            state = "" if left[-1] is None else duration(left[-1])
        print(f"{planned.run.name:60} {planned.config.epochs:4d} epochs of {planned.config.dataset:20} {state}", flush=True)
    if None in left:
        print(f"{counted(len(runs), 'run')}: how long they take is not known, since the size of their data set is not")
    else:
        print(f"{counted(len(runs), 'run')}: about {duration(sum(left))} on this machine (one run at a time)")
    return 0


if __name__ == "__main__":
    run_script(main)
