"""Studies on one machine within a time limit, such as a GPU that is lent: as many runs at once as serve, and a record of each.

It unpacks the data, measures how many images a second 1, 4, 8 and 16 runs at once see together, trains with the best number until
the time is over, and publishes what has finished. Nothing is lost by measuring: the runs that it starts are those of the studies,
and go on. What is unfinished goes on in a later session from --state, a tar file of its checkpoints.
"""

import lzma
import os
import tarfile
import time
import zlib
from collections import Counter
from pathlib import Path

from foundation.command_line import Parser
from foundation.errors import UserError
from foundation.files import as_json, temporary_folder, write_file
from foundation.grammar import counted, duration
from foundation.scripts import run_script
from lab import studies
from lab.engines.fleet import LocalEngine, run_all
from lab.runs.contents import epochs_of
from lab.studies.published import Publisher

WORK = Path("output", "evidence")
EPOCHS = 2  # of every run, while it is measured how many serve
MEASURED = 45.0  # seconds that this takes at most, for each number of runs
BETTER = 1.05  # more runs at once serve if they see so many times the images
RESERVE = 20.0  # seconds before the end, for checkpoints, records and the state


class TimeIsOver(Exception):
    """The minutes of --minutes are over."""


def main():
    arguments = _parse()
    deadline = time.monotonic() + 60 * arguments.minutes - RESERVE
    if arguments.state and arguments.state.is_file():
        unpack(arguments.state, WORK)
    dataset = data_of(arguments.data, WORK / "data") if arguments.data else None
    planned = plans(arguments, dataset)
    publishers = {name: Publisher(name, arguments.scale, runs, arguments.published_dir) for name, runs in planned.items()}
    for publisher in publishers.values():
        publisher.restore()
    runs = waiting_runs(planned)
    print(f"{counted(len(runs), 'run')} to train; {duration(deadline - time.monotonic())} left", flush=True)

    def publish():
        for publisher in publishers.values():
            publisher.publish()

    def report(line):
        if time.monotonic() > deadline:
            raise TimeIsOver

    speeds = {}
    try:
        speeds = measure(runs, arguments.jobs, LocalEngine, deadline)
        publish()
        jobs = best(speeds) if speeds else arguments.jobs[0]
        print(f"{counted(jobs, 'run')} at once", flush=True)
        run_all(runs, LocalEngine(jobs), report, publish)
    except TimeIsOver:
        print("the time is over: what is unfinished has its checkpoints", flush=True)
    publish()
    unfinished = [run for run in runs if not run.is_finished()]
    if arguments.state:
        pack(arguments.state, unfinished, WORK)
    _say(publishers, runs, unfinished, speeds)
    return 0


def _say(publishers, runs, unfinished, speeds):
    """Print what was done, and write it as JSON."""
    written = {name: len(publisher.published) for name, publisher in publishers.items()}
    failures = {run.run.name: run.failure for run in runs if run.failure}
    found = {"images_per_second_by_runs_at_once": speeds, "records": written, "unfinished": len(unfinished), "failures": failures}
    write_file(WORK / "log.json", as_json(found))
    print(f"records: {written}; {counted(len(unfinished), 'run')} unfinished")
    for name, why in failures.items():
        print(f"{name} failed: {why}")


def plans(arguments, dataset):
    """Return {study: its runs at the scale, seed by seed}. Raises UserError."""
    overrides = {"data_dir": str(WORK / "decoded")} | ({"dataset": dataset} if dataset else {})
    overrides |= {"epochs": arguments.epochs} if arguments.epochs else {}
    found = {}
    for name in arguments.studies:
        study = studies.find(name)
        found[name] = study.plan(name, arguments.scale, study.arms_at(arguments.scale), arguments.seeds, WORK / name, overrides)
    return found


def waiting_runs(planned):
    """Return the runs of all studies that are not finished, seed by seed, studies in their order."""
    runs = [(run.seed, place, run) for place, own in enumerate(planned.values()) for run in own if not run.is_finished()]
    return [run for _, _, run in sorted(runs, key=lambda each: each[:2])]


def measure(runs, counts, engine_of, deadline, patience=MEASURED):
    """Return {number of runs at once: images a second that they see together}; the runs go on from where they are stopped.

    `engine_of(jobs)` is an engine of `lab.engines`. Ends when more runs at once serve no more, or too few are unfinished.
    """
    speeds = {}
    for jobs in counts:
        ready = [run for run in runs if not run.is_finished() and (run.needs is None or run.needs.is_finished())][:jobs]
        if len(ready) < jobs or time.monotonic() > deadline - patience:
            break
        speeds[jobs] = _images_per_second(ready, engine_of(jobs), patience)
        print(f"{counted(jobs, 'run')} at once: {speeds[jobs]:,.0f} images/s together", flush=True)
        if speeds[jobs] < BETTER * max((speed for other, speed in speeds.items() if other < jobs), default=0.0):
            break
    return speeds


def best(speeds):
    """Return the number of runs at once that sees most images; of nearly equal ones the smallest."""
    most = max(speeds.values())
    return min(jobs for jobs, speed in speeds.items() if speed * BETTER >= most)


def _images_per_second(runs, engine, patience):
    """Return the images a second of runs that train at once for EPOCHS, or `patience` seconds."""
    before = {run.run.name: len(run.history()["epoch"]) for run in runs}
    processes, began = [], time.monotonic()
    try:
        for run in runs:
            run.run.check(run.config)
            run.begin()
            processes.append(engine.start(run))
        while time.monotonic() < began + patience and any(process.poll() is None for process in processes):
            done = Counter({run.run.name: len(run.history()["epoch"]) - before[run.run.name] for run in runs})
            if min(done.values()) >= EPOCHS:
                break
            time.sleep(0.2)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    return sum(_last_speed(run, before[run.run.name]) for run in runs)


def _last_speed(run, before):
    """Return the images a second of a run's last epoch; 0 if it finished none since `before`."""
    if len(run.history()["epoch"]) <= before:
        return 0.0
    try:
        return epochs_of(run.run, "speed.json", ("images_per_second",))["images_per_second"][-1]
    except (UserError, IndexError):
        return 0.0


def data_of(data, folder):
    """Return the name of a data set: `data`, or `folder:...` of an archive, unpacked below `folder`. Raises UserError."""
    archive = Path(data)
    if not archive.name.endswith((".tar.gz", ".tgz", ".tar.xz", ".tar")):
        return data
    target = folder / archive.name.partition(".")[0]
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder) as work:  # a part of the data would be taken for all of them
            unpack(archive, work / "whole")
            os.rename(work / "whole", target)
    return f"folder:{target.absolute()}"


def unpack(archive, folder):
    """Unpack a tar file below a folder; members that would lie elsewhere are refused. Raises UserError."""
    try:
        with tarfile.open(archive) as file:
            folder.mkdir(parents=True, exist_ok=True)
            file.extractall(folder, filter="data")
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError) as error:
        raise UserError(f"{archive} can't be unpacked: {error}") from error


def pack(archive, runs, folder):
    """Write the files of unfinished runs that have begun, records and checkpoints, to a tar file."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(archive.parent) as work:  # the state before stays until this one is whole
        with tarfile.open(work / archive.name, "w") as file:
            for run in runs:
                for place in (run.run.output, run.run.weights):
                    if place.is_dir() and any(run.run.weights.glob("epoch-*")):
                        file.add(place, os.path.relpath(place, folder))
        os.replace(work / archive.name, archive)


def _parse():
    parser = Parser(prog="python -m lab.studies.evidence", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("studies", nargs="+", metavar="STUDY", help="studies, the most important first")
    parser.add_argument("--data", help="a data set, or a tar file of a folder with train/<class>/ (default: the scale's)")
    parser.add_argument("--scale", default="full", help="scale of the studies (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="repetitions of every arm (default: %(default)s)")
    parser.add_argument("--epochs", type=int, help="epochs of every run (default: the scale's)")
    parser.add_argument("--minutes", type=float, default=9.0, help="minutes that everything may take (default: %(default)s)")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 4, 8, 16], help="runs at once to try (default: 1 4 8 16)")
    parser.add_argument("--published-dir", default="results", help="where records go (default: %(default)s)")
    parser.add_argument("--state", type=Path, help="a tar file of unfinished runs: read at the start, written at the end")
    arguments = parser.parse_args()
    if min(arguments.jobs) < 1 or arguments.seeds < 1 or not arguments.minutes > 0:
        raise UserError("--jobs and --seeds are at least 1, and --minutes is more than 0")
    return arguments


if __name__ == "__main__":
    run_script(main)
