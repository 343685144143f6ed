"""What lies in the output folder, as the dashboard sees it: every run with its state, read once for each version of its files."""

import contextlib
import math
import time
from dataclasses import dataclass, field
from functools import lru_cache

from errors import UserError
from paths import typed_path
from settings import Config
from training.run import Run

FILES = ("config.json", "history.json", "metrics.json", "speed.json")  # of a run, the first that it has
STATES = ("training", "finished", "stopped", "broken")
SPLITS = ("train", "val", "test")
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")  # what every history has
RECENT = 3  # epochs whose duration says how long the next ones take


@dataclass(frozen=True)
class Folders:
    """Where runs lie; `weights_dir` None: where each run's settings say."""

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
    """What is known of a run: of a broken one its `fault`, of one that has not finished no `metrics`."""

    name: str  # the path below the output folder, without what all studies have in common
    run: Run
    state: str  # one of STATES
    config: Config | None = None
    history: dict = field(default_factory=lambda: {"epoch": []})
    metrics: dict | None = None
    speed: dict | None = None
    changed: float = 0.0  # when its history was last written, in seconds since 1970
    fault: str = ""

    @property
    def epochs(self):
        return len(self.history["epoch"])

    @property
    def best_epoch(self):
        """Counted from 0: the one that was measured, so far that which its settings would choose; None before the first."""
        if self.metrics:
            return self.metrics["best_epoch"] - 1
        values, losses = self.history.get(self.config.monitor, []), self.history.get("val_loss", [])
        sign = -1 if self.config.monitor == "val_loss" else 1
        pairs = [(sign * value, -loss) for value, loss in zip(values, losses, strict=False)]
        return max(range(len(pairs)), key=pairs.__getitem__, default=None)

    @property
    def val_accuracy(self):
        """Of the best epoch; None before the first."""
        if self.metrics:
            return self.metrics["val"]["accuracy"]
        return self.history["val_accuracy"][self.best_epoch] if self.epochs and self.best_epoch is not None else None

    @property
    def images_per_second(self):
        """Of the last epoch's training steps; None where nobody recorded it."""
        return self.speed["images_per_second"][-1] if self.speed and self.speed["images_per_second"] else None

    def seconds_left(self):
        """Until the last epoch's end, by the last few epochs; None before the first."""
        seconds = (self.speed or {}).get("seconds", [])[-RECENT:]
        if not seconds:
            return None
        total = (self.config.epochs - self.epochs) * sum(seconds) / len(seconds)
        return max(total - (time.time() - self.changed), 0.0)


def find_records(folders):
    """A Record for every run below the output folder and its studies, by name."""
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
        return Record(**vars(record) | {"state": "training"})
    return record


def _version(path):
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=4096)
def _read(folder, name, weights_dir, versions):
    """The Record of files in these versions."""
    run = Run(folder.name, folder.parent, weights_dir or folder)
    try:
        run = Run.at(folder, weights_dir)
        config = run.read_settings()
        _, history, metrics, speed = versions
        read = {"config": config, "changed": history[0] / 1e9 if history else 0.0}
        if history:
            read["history"] = _checked_epochs(run, "history.json", CURVES)
        if speed:
            read["speed"] = _checked_epochs(run, "speed.json", ("images_per_second",))
        measured = _checked_metrics(run) if metrics else None
        is_finished = measured is not None and run.is_finished(config)
        if is_finished:  # a run that goes on for more epochs has a result of earlier ones: not its own any more
            read["metrics"] = measured
        return Record(name, run, "finished" if is_finished else "stopped", **read)
    except UserError as error:
        return Record(name, run, "broken", fault=str(error))


def _checked_epochs(run, file, names):
    """A file of one list for each name, with a number for every epoch. Raises UserError."""
    found = run.read_json(file)
    lists = found.values() if isinstance(found, dict) else [None]
    if not all(isinstance(values, list) and all(map(_is_number, values)) for values in lists) or "epoch" not in found:
        raise UserError(f"{run.output / file} is damaged: it should hold a list of numbers for every metric")
    missing = [name for name in names if len(found.get(name, ())) != len(found["epoch"])]
    if found["epoch"] and missing:
        raise UserError(f"{run.output / file} is damaged: {', '.join(missing)} should have a value for every epoch")
    return found


def _checked_metrics(run):
    """Raises UserError where a number is missing that a finished run has."""
    found = run.read_json("metrics.json")
    try:
        numbers = [found[split][name] for split in SPLITS for name in ("accuracy", "loss", "f1_macro", "images")]
        numbers += [found[name] for name in ("params", "macs", "seconds", "epochs", "best_epoch", "images_per_second")]
    except (KeyError, TypeError) as error:
        raise UserError(f"{run.output / 'metrics.json'} is damaged: {error} is missing") from error
    if not all(map(_is_number, numbers)):
        raise UserError(f"{run.output / 'metrics.json'} is damaged: a metric is no number")
    return found


@contextlib.contextmanager
def reading(record, file):
    """Turns whatever a damaged file of a run leads to within the block into a UserError that names it."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, OSError, TypeError, ValueError) as error:
        raise UserError(f"{record.run.output / file} is damaged: {error!r}") from error


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
