"""From a study and a command line to trained runs and a report."""

import fnmatch
from dataclasses import replace

from foundation.errors import UserError
from foundation.grammar import counted, duration
from foundation.paths import typed_path
from lab.studies import by_looks


def answer(study, arguments):
    """Plan the runs of a study and do with them what the command line asks for. Returns the exit code."""
    arguments.scale = arguments.scale or study.usual_scale
    look_plan = by_looks.plan_of(arguments)
    margin = arguments.margin or study.margin or arguments.detect  # smaller differences are not what is wished to be detected
    study = replace(study, margin=margin)
    runs = planned_runs(study, arguments)
    publisher = _publisher(arguments, runs)
    if restored := publisher.restore():
        print(f"{counted(len(restored), 'run')} of {len(runs)} taken from records in {typed_path(arguments.published_dir)}")
    by_looks.check_plan(look_plan, study, folder_of(arguments), arguments.scale)
    if arguments.publish:
        by_looks.check_plan(look_plan, study, _publisher(arguments, runs).folder)
    if look_plan:
        return _answer_by_looks(study, runs, look_plan, arguments, publisher)
    if arguments.dry_run:
        return show(runs)
    if arguments.engine == "slurm" and not arguments.report:
        return _queue(arguments, runs)
    return _train_and_report(study, runs, arguments, publisher)


def studies_folder(arguments):
    return typed_path(arguments.output_dir) / "studies"


def folder_of(arguments):
    return studies_folder(arguments) / arguments.name


def planned_runs(study, arguments):
    """Return the runs that the command line asks for. Raises UserError for what can't be, before anything is trained."""
    from lab.runs.run import NameTaken

    arms = _chosen_arms(study.arms_at(arguments.scale), arguments.arms)
    seeds = arguments.most_seeds or arguments.seeds
    runs = study.plan(arguments.name, arguments.scale, arms, seeds, folder_of(arguments), overrides_of(arguments))
    try:
        for planned in runs:
            planned.run.check(planned.config)
    except NameTaken as error:
        raise UserError(f"{error}, or choose another --output-dir") from error
    return runs


def _chosen_arms(arms, wildcards):
    """Return the arms that any of the wildcards names, in their order. Raises UserError for a wildcard that names none."""
    for wildcard in wildcards:
        if not any(fnmatch.fnmatchcase(arm.name, wildcard) for arm in arms):
            raise UserError(f"no arm matches '{wildcard}' (arms: {', '.join(arm.name for arm in arms)})")
    return [arm for arm in arms if any(fnmatch.fnmatchcase(arm.name, wildcard) for wildcard in wildcards)]


def overrides_of(arguments):
    """Return the settings that the command line gives all arms."""
    from foundation.flags import read_setting

    chosen = {"dataset": arguments.data, "data_dir": arguments.data_dir, "epochs": arguments.epochs}
    return {name: value for name, value in chosen.items() if value is not None} | dict(map(read_setting, arguments.set))


def _answer_by_looks(study, runs, look_plan, arguments, publisher):
    from lab.reports.results import course_of

    course = course_of(study, runs, look_plan)
    if not course.comparisons:
        raise UserError(f"--detect takes arms that are compared; of study '{arguments.name}' only one takes part")
    if arguments.dry_run:
        code = show(by_looks.runs_for(course, runs))
        by_looks.show_forecast(course, runs)
        return code
    engine = None
    if not arguments.report:
        by_looks.write_plan(look_plan, study, folder_of(arguments), arguments.scale)
    if arguments.publish:
        by_looks.write_plan(look_plan, study, publisher.folder)
    while not arguments.report and not course.is_over:
        going = by_looks.runs_for(course, runs)
        if arguments.engine == "slurm":
            return _queue(arguments, going)
        engine = engine or engine_of(arguments, going)
        _train(going, _live(study, [*_begun(runs, going)], arguments, look_plan), publisher, engine)
        before, course = course, course_of(study, runs, look_plan)
        if course.looks == before.looks:  # a run left neither a result nor a reason, as on a full disk
            break
    begun = [*_begun(runs)]
    return _report(_live(study, begun, arguments, look_plan), begun, publisher, arguments)


def _begun(runs, going=()):
    """Yield the runs of a study with looks that have ended or are `going`, and those of its first look."""
    for planned in runs:
        if planned.seed < by_looks.LEAST or planned in going or planned.is_finished() or planned.failure:
            yield planned


def _queue(arguments, runs):
    from lab.engines.slurm import write_jobs

    script = write_jobs(arguments.name, runs, folder_of(arguments), arguments.cpus, arguments.gpus, arguments.minutes)
    print(f"queue it by: bash {script}")
    if arguments.detect:
        print("when it is done, this command again queues the next look's runs, or reports; --report reports the looks so far")
    else:
        print("what is finished is reported by this command and --report")
    return 0


def _train_and_report(study, runs, arguments, publisher):
    """Train the runs and write the report; return 1 if a run failed, else 0."""
    live = _live(study, runs, arguments)
    if not arguments.report:
        _train(runs, live, publisher, engine_of(arguments, runs))
    return _report(live, runs, publisher, arguments)


def _train(runs, live, publisher, engine):
    from lab.engines.fleet import run_all

    def after_epoch():
        live.redraw()
        publisher.publish()

    run_all(runs, engine, live.progress, after_epoch)


def _report(live, runs, publisher, arguments):
    from lab.reports.measures import kept_measures

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


def _live(study, runs, arguments, look_plan=None):
    from lab.reports.live import Live
    from lab.runs.environment import typed_command
    from lab.studies.study import SOURCE, Session

    compared = [planned for planned in runs if planned.arm != SOURCE]
    command = typed_command().replace(" --report", "")  # a report names the command that makes what it reports
    session = Session(study, arguments.name, arguments.scale, compared, command, look_plan)
    return Live(session, folder_of(arguments))


def engine_of(arguments, runs):
    if arguments.engine == "ray":
        from lab.engines.ray_engine import OnRay

        return OnRay(arguments.address, arguments.cpus, arguments.gpus, jobs=len(runs))
    from lab.engines.fleet import LocalEngine

    return LocalEngine(arguments.jobs)


def show(runs):
    """List the runs with the time that each still takes, estimated from a few steps of each arm."""
    from lab.benchmarks.estimate import seconds_of

    estimates, left, width = {}, [], max((len(planned.run.name) for planned in runs), default=0)
    for planned in runs:
        if planned.arm not in estimates:
            estimates[planned.arm] = seconds_of(planned.config)
        state = "finished"
        if not planned.is_finished():
            share = 1 - len(planned.history()["epoch"]) / planned.config.epochs
            left.append(estimates[planned.arm] and estimates[planned.arm] * share)
            state = "" if left[-1] is None else duration(left[-1])
        print(f"{planned.run.name:{width}} {planned.config.epochs:4d} epochs of {planned.config.dataset:20} {state}", flush=True)
    if None in left:
        print(f"{counted(len(runs), 'run')}: how long they take is not known, since the size of their data set is not")
    else:
        print(f"{counted(len(runs), 'run')}: about {duration(sum(left))} on this machine (one run at a time)")
    return 0
