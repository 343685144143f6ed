"""Runs in the output folder for the dashboard: every run with its state, read once for each version of its files."""

import contextlib
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache

from foundation.errors import UserError, printable
from foundation.paths import typed_path
from foundation.settings import Config
from lab.runs.contents import epochs_of
from lab.runs.metrics import metrics_of
from lab.runs.run import Run

FILES = ("config.json", "history.json", "metrics.json", "speed.json")  # files of a run; a folder with any of them is a run
STATES = ("training", "finished", "stopped", "broken")
RECENT = 3  # epochs whose duration says how long the next ones take


@dataclass(frozen=True)
class Folders:
    """Folders of runs. If `weights_dir` is None, the weights of each run lie where its settings say."""

    output_dir: str
    weights_dir: str | None = None

    @property
    def output(self):
        return typed_path(self.output_dir)

    @property
    def studies(self):
        return self.output / "studies"


@dataclass(frozen=True)
class Record:
    """State and content of a run. A broken run has only a `fault`; a run that has not finished has no `metrics`."""

    name: str  # the path below the output folder, without what all studies have in common
    run: Run
    state: str  # one of STATES
    config: Config | None = None
    history: dict = field(default_factory=lambda: {"epoch": []})
    metrics: dict | None = None
    speed: dict | None = None
    changed: float = 0.0  # time of the last write to its history, in seconds since 1970
    fault: str = ""

    @property
    def epochs(self) -> int:
        return len(self.history["epoch"])

    @property
    def best_epoch(self):
        """Best epoch, counted from 0; None before the first.

        For a measured run it is the epoch that was measured, for others the one that the run's settings would choose so far.
        """
        if self.metrics:
            return self.metrics["best_epoch"] - 1
        if not self.config:
            return None
        values, losses = self.history.get(self.config.monitor, []), self.history.get("val_loss", [])
        sign = -1 if self.config.monitor == "val_loss" else 1
        pairs = [(sign * value, -loss) for value, loss in zip(values, losses, strict=False)]
        return max(range(len(pairs)), key=pairs.__getitem__, default=None)

    @property
    def val_accuracy(self):
        """Accuracy on val of the best epoch; None before the first."""
        if self.metrics:
            return self.metrics["val"]["accuracy"]
        return self.history["val_accuracy"][self.best_epoch] if self.epochs and self.best_epoch is not None else None

    @property
    def images_per_second(self):
        """Images per second of the last epoch's training steps; None if they were not recorded."""
        return self.speed["images_per_second"][-1] if self.speed and self.speed["images_per_second"] else None

    def seconds_left(self) -> float | None:
        """Return the seconds until the last epoch's end, estimated from the last few epochs; None before the first."""
        seconds = (self.speed or {}).get("seconds", [])[-RECENT:]
        if not seconds or not self.config:
            return None
        total = (self.config.epochs - self.epochs) * sum(seconds) / len(seconds)
        return max(total - (time.time() - self.changed), 0.0)


def find_records(folders):
    """Return a Record for every run below the output folder and its studies, sorted by name."""
    found = [_record_of(folder, folder.name, folders.weights_dir) for folder in _runs_in(folders.output)]
    for study in _folders_in(folders.studies):
        found += [_record_of(run, f"{study.name}/{run.name}", folders.weights_dir) for run in _runs_in(study / "runs")]
    return sorted(found, key=lambda record: record.name)


def _folders_in(folder):
    try:
        return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []


def _runs_in(folder):
    return [entry for entry in _folders_in(folder) if any((entry / file).exists() for file in FILES)]


def _record_of(folder, name, weights_dir):
    record = _read(folder, name, weights_dir, tuple(_version(folder / file) for file in FILES))
    if record.state != "broken" and record.run.is_being_written():
        return replace(record, state="training")
    return record


def _version(path):
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=4096)
def _read(folder, name, weights_dir, versions):
    """Return the Record of a run whose files have these versions."""
    name = printable(name)
    run = Run(folder.name, folder.parent, weights_dir or folder)
    try:
        run = Run.at(folder, weights_dir)
        config = run.read_settings()
        _, history, metrics, speed = versions
        read = {"config": config, "changed": history[0] / 1e9 if history else 0.0}
        if history:
            read["history"] = epochs_of(run)
        if speed:
            read["speed"] = epochs_of(run, "speed.json", ("images_per_second", "seconds"))
        measured = metrics_of(run) if metrics else None
        is_finished = measured is not None and run.is_finished(config)
        if is_finished:  # a run that was made longer has a result of fewer epochs, which is not its own
            read["metrics"] = measured
        return Record(name, run, "finished" if is_finished else "stopped", **read)
    except UserError as error:
        return Record(name, run, "broken", fault=str(error))


@contextlib.contextmanager
def reading(record, file):
    """Turn errors that a damaged file of a run causes within the block into a UserError that names the file."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, OSError, TypeError, ValueError) as error:
        raise UserError(f"{record.run.output / file} is damaged: {error!r}") from error
