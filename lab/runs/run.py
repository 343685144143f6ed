"""Run directory: the one place that writes and reads runs."""

import contextlib
import glob
import os
import platform
import stat
from dataclasses import asdict
from pathlib import Path

import filelock

from datasets.catalog import short_name
from foundation import replicas
from foundation.checks import fault_of
from foundation.errors import UserError, unknown
from foundation.files import as_json, read_json, remove_leftovers, unlinked, write_whole
from foundation.paths import typed_path
from foundation.settings import SETTINGS, Config
from lab.runs import places
from lab.runs.metrics import end_of
from lab.runs.same_settings import adds_epochs_alone, change_in_words, changes_of

LISTED = 20  # maximum number of runs named in one line


class NameTaken(UserError):
    """Raised if a run's name is another's, or if another process writes the run."""


class Run:
    """Files of a run: `output_dir/<name>` and `weights_dir/<name>`. Every write is atomic: a temporary file, then one rename."""

    def __init__(self, name, output_dir, weights_dir):
        self.name = name
        self.output = typed_path(output_dir) / name
        self.weights = typed_path(weights_dir) / name

    @classmethod
    def of(cls, config):
        name = config.run or f"{config.model}-{short_name(config.dataset)}-{config.seed}"
        return cls(name, config.output_dir, config.weights_dir)

    @classmethod
    def find(cls, name, output_dir, weights_dir=None):
        """Return a run by its name or by the path of its output folder; `weights_dir` None: where the run's record says.

        Raises UserError if there is none.
        """
        path = typed_path(name)
        if (path / "config.json").is_file() and path.name != name:
            return cls.at(path, weights_dir)
        folder = typed_path(output_dir)
        if not (folder / name / "config.json").is_file():
            known = [entry.parent.name for entry in folder.glob("*/config.json")] if folder.is_dir() else []
            raise unknown("run", name, sorted(known), f"runs are the folders of {folder}")
        return cls.at(folder / name, weights_dir)

    @classmethod
    def at(cls, folder, weights_dir=None):
        """Return the run of an output folder, with weights below `weights_dir`, or where its record says. Raises UserError."""
        folder = Path(os.path.abspath(folder))
        run = cls(folder.name, folder.parent, weights_dir or folder)
        if not weights_dir:
            run.weights = run._recorded_weights()
        return run

    def _recorded_weights(self):
        settings, recorded = self.read_settings(), self._places()
        fallback = typed_path(settings.weights_dir) / self.name
        return places.find_weights(recorded["weights"], fallback, self.output, self.owns)

    @classmethod
    def asked_for(cls, script, output_dir) -> UserError:
        """Return the UserError for a script that was given no run: it lists the finished runs, the newest first."""
        runs = sorted(cls.finished("*", output_dir), key=lambda run: -(run.output / "metrics.json").stat().st_mtime_ns)
        names = ", ".join(run.name for run in runs[:LISTED]) + (" ..." if len(runs) > LISTED else "")
        return UserError(f"which run? python {script} RUN (finished ones in {typed_path(output_dir)}: {names or 'none'})")

    @classmethod
    def finished(cls, pattern, output_dir, weights_dir=None):
        """Return the finished runs whose names, or the paths of whose folders, match a shell wildcard, in order."""
        below = os.path.join(glob.escape(str(typed_path(output_dir))), typed_path(pattern), "metrics.json")
        runs = [cls.at(Path(found).parent, weights_dir) for found in sorted(glob.glob(below))]
        return [run for run in runs if run.is_finished()]

    @classmethod
    def some_finished(cls, pattern, output_dir, weights_dir=None):
        """Return the finished runs as `finished` does. Raises UserError if there are none."""
        runs = cls.finished(pattern, output_dir, weights_dir)
        if not runs:
            raise UserError(f"no finished run in {output_dir} is called like '{pattern}'")
        return runs

    def read_config(self):
        """Return the settings of the run, with its data where they are found now. Raises UserError for damaged files."""
        return places.located(self.read_settings(), self.output, self._places())

    def read_settings(self) -> Config:
        """Return the settings of the run as they were typed. Raises UserError if they are damaged."""
        settings, path = self.read_json("config.json"), self.output / "config.json"
        if not isinstance(settings, dict) or settings.keys() - SETTINGS.keys():
            raise UserError(f"{path} holds no settings of this version")
        faults = [fault_of(name, value) for name, value in settings.items()]
        if any(faults):
            raise UserError(f"{path}: {'; '.join(filter(None, faults))}")
        return Config(**settings)

    def read_identity(self):
        """Return the id of the run and the places of what it was made of; {} if the run's version did not record them."""
        if not (self.output / places.FILE).is_file():
            return {}
        recorded = self.read_json(places.FILE)
        if not isinstance(recorded, dict) or not isinstance(recorded.get("id"), str):
            raise UserError(f"{self.output / places.FILE} is damaged: it holds no id")
        return recorded

    def folder(self, name) -> Path:
        """Return the folder below the run's output for what is made of it; it may not exist yet. Raises UserError for a link."""
        return unlinked(self.output, name)

    @property
    def id(self):
        """Id of the run; None if the run's version had no ids."""
        return self.read_identity().get("id")

    def _places(self):
        recorded = self.read_identity()
        return places.read_places(recorded) if recorded else places.places_as_typed(self.read_settings(), self.name)

    def owns(self, state):
        """Return whether a checkpoint with this state belongs to the run."""
        history = self.read_json("history.json") if (self.output / "history.json").is_file() else None
        return places.is_of(state, self.id, history)

    def check_owns(self, path, state):
        """Raise a UserError if the checkpoint at `path`, which has this state, belongs to another run."""
        if not self.owns(state):
            raise UserError(
                f"{path} holds weights of another run than {self.output}: --weights-dir says where this run's lie "
                "(to begin anew, name a new run with --run)"
            )

    def check(self, config):
        """Raise a UserError if the name is taken: by a run of other settings, or by something that is no run."""
        if (self.output / "config.json").is_file():
            if self.has_begun():
                self._check_same(config)
                self._check_weights()
        elif any(self.weights.glob("epoch-*")):
            raise UserError(
                f"{self.weights} holds checkpoints of a run whose record is not in {self.output}: choose another --weights-dir, "
                "name this run with --run, or put the record back"
            )
        elif self.output.is_dir() and any(not entry.name.startswith(".") for entry in self.output.iterdir()):
            raise UserError(f"{self.output} exists and is no run: choose another name with --run")

    def has_begun(self) -> bool:
        """Return whether there is anything to lose. A start that failed before its first checkpoint leaves the name free."""
        return (self.output / "metrics.json").is_file() or any(self.weights.glob("epoch-*"))

    def _check_weights(self):
        """Raise a UserError if the run's checkpoints lie elsewhere, or if those in its folder are another run's."""
        state = places.newest_state(self.weights)
        if state is not None:
            self.check_owns(self.weights, state)
            return
        recorded = self._recorded_weights()
        if places.newest_state(recorded) is not None:
            raise UserError(f"the checkpoints of run '{self.name}' lie in {recorded}: give it --weights-dir {recorded.parent}")

    def is_taken(self) -> bool:
        """Return whether a new run can't have this name: it is begun, a process holds it, or its folder holds something else."""
        if self.is_being_written():
            return True
        if (self.output / "config.json").is_file() or any(self.weights.glob("epoch-*")):
            return self.has_begun()
        return self.output.exists() and not (self.output.is_dir() and all(e.name.startswith(".") for e in self.output.iterdir()))

    @contextlib.contextmanager
    def writing(self, config):
        """Hold the run while the block runs; make its folders and record its settings. Raises UserError.

        The system releases the lock when the process that holds it ends, in whatever way. If several processes train together,
        only the first one holds the run and writes.
        """
        if replicas.RANK:
            yield
            return
        with self._lock():
            self.check(config)  # once more: another process may have made the run meanwhile
            for folder in (self.output, self.weights):
                remove_leftovers(folder)
            try:
                self.write_json(".writer.json", {"process": os.getpid(), "host": platform.node()})
                self._write_identity(config)
                self.write_json("config.json", asdict(config))
            except OSError as error:
                raise UserError(f"the run can't be written: {error}") from error
            yield

    def _write_identity(self, config):
        """Write the id, a new one if the run begins, and the present places of what it is made of."""
        run_id = (self.id if self.has_begun() else None) or places.new_id()
        found = {name: asdict(place) for name, place in places.places_of(config, self.output, self.weights).items()}
        self.write_json(places.FILE, {"id": run_id, "places": found})

    def is_finished(self, config=None):
        """Return whether the run has the result of its last epoch.

        The last epoch is that of the run's own settings, or of `config`, which may ask for more epochs. A run that stopped early
        is finished; one that was measured on its way is not. Raises UserError for damaged files.
        """
        if not (self.output / "metrics.json").is_file():
            return False
        config, end = config or self.read_config(), end_of(self)
        return end["epochs"] >= config.epochs or 0 < config.early_stopping_patience <= end["epochs"] - end["best_epoch"]

    def check_finished(self):
        """Raise a UserError if the run does not have the result of its last epoch yet."""
        if not self.is_finished():
            raise UserError(f"run '{self.name}' is not finished: the `python train.py` command that began it goes on")

    def is_being_written(self) -> bool:
        """Return whether some process holds the run. This changes nothing, not even the times of the run's files."""
        try:
            import fcntl
        except ImportError:  # on Windows the run that is started finds out
            return False
        try:
            with open(os.open(self.output / ".lock", os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # and not a pipe that somebody put there
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _lock(self):
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            self.weights.mkdir(parents=True, exist_ok=True)
            # wait a moment: another process may hold the lock only to ask whether the run is being written
            return filelock.FileLock(self.output / ".lock").acquire(timeout=0.2, poll_interval=0.02)
        except filelock.Timeout as error:
            raise NameTaken(f"run '{self.name}' is being written by {self._writer()}") from error
        except OSError as error:
            raise UserError(f"the run can't be written: {error}") from error

    def _writer(self):
        try:
            writer = self.read_json(".writer.json")
            return f"process {writer['process']} on {writer['host']}"
        except (UserError, KeyError, TypeError):
            return "another process"

    def _check_same(self, config):
        if config.resume == "never":
            raise NameTaken(f"run '{self.name}' exists: go on with it by --resume auto")
        changed = self.changes(config)
        if changed and not self.can_be_longer(config, changed):
            shown = ", ".join(change_in_words(name, *values) for name, values in changed.items())
            raise NameTaken(f"run '{self.name}' exists with other settings ({shown}): restore those values to resume it")

    def changes(self, config):
        """Return {setting: (value of the run, value of a config)} where they differ, of the settings that a run computes by."""
        return changes_of(self.read_config(), config)

    def can_be_longer(self, config, changed):
        """Return whether a config changes nothing but adds epochs, and the learning rate does not depend on their number."""
        return adds_epochs_alone(self.read_config(), config, changed)

    def read_json(self, name):
        """Return the content of a JSON file of the run. Raises UserError if it is damaged or is no file of a run."""
        return read_json(self.output / name)

    def write_json(self, name, data):
        if not replicas.RANK:
            write_whole(self.output, name, as_json(data))

    def write_figure(self, name, figure):
        if not replicas.RANK:
            from foundation.style import image_of  # with matplotlib, which takes a second

            write_whole(self.output, name, image_of(figure, Path(name).suffix[1:]))
