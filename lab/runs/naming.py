"""Names of runs: `<model>-<dataset>-<seed>`, or the next free `-2`, `-3` ... if a run of that name has other settings."""

import contextlib
import re
import shlex
from dataclasses import dataclass, field, replace
from glob import escape
from itertools import count

from foundation.errors import UserError
from lab.runs.contents import environments_of
from lab.runs.environment import typed_command
from lab.runs.run import NameTaken, Run
from lab.runs.same_settings import change_in_words

# What a run must share with its checkpoints besides its settings: {name in `environment.json`: words}.
ORIGIN = {"data": "content of the data set", "backend": "KERAS_BACKEND"}


def check_given_name(config):
    """Raise a UserError that ends with the command for a new run if the name that a config gives is taken."""
    if config.run:
        with next_name_told(config):
            Run.of(config).check(config)


def is_new_name(config) -> bool:
    """Return whether no run has the name of a config, nor the name with a number, which the config may stand for too."""
    first = Run.of(config)
    return not any(run.output.exists() for run in (_existing_and_next(first) if not config.run else [first]))


@contextlib.contextmanager
def next_name_told(config):
    """Add the command that makes a new run to the end of a NameTaken's message."""
    try:
        yield
    except NameTaken as error:
        name = next(run.name for run in _existing_and_next(Run.of(config)) if not run.output.exists())
        typed = re.sub(r" --run[ =]\S+", "", typed_command())
        raise UserError(f"{error}; for a new run: {typed} --run {name}") from error


@dataclass(frozen=True)
class Choice:
    """Run that a config without a name stands for. If the run is new, `before` is the newest run that already has the name."""

    run: Run
    before: Run | None = None
    changed: dict = field(default_factory=dict)  # {name: (value there, value here)}

    def introduction(self) -> str:
        """Return what a new run changes against the one before; empty if there is none."""
        if self.before is None:
            return ""
        content = ORIGIN["data"]  # digests tell a reader nothing
        changes = (name if name == content else change_in_words(name, *values) for name, values in self.changed.items())
        return f"new run '{self.run.name}', beside '{self.before.name}': {', '.join(changes)}; "

    def comparison(self) -> str:
        """Return the command that draws both runs side by side; empty if there is no other run."""
        if self.before is None:
            return ""
        folder = str(self.run.output.parent)
        where = "" if folder == "output" else f" --output-dir {shlex.quote(folder)}"
        return f"side by side: python visualize.py training {self.before.name} {self.run.name}{where}"


def choose(config, origin) -> Choice:
    """Return the Choice for a config. Raises UserError.

    It is the run that the config names; without a name, the run that has its settings and `origin`, or else the next free name.
    `origin` holds a value for each of ORIGIN.
    """
    if config.run:
        return Choice(Run.of(config))
    others, lengthened, free = [], None, []
    for run in _existing_and_next(Run.of(config)):
        if not run.is_taken():
            free.append(run)
            continue
        changed = _changes(run, config, origin)
        if changed is not None and not changed:
            return Choice(run)
        if changed is not None and lengthened is None and run.can_be_longer(config, changed):
            lengthened = run
        elif changed is not None:
            others.append((run, changed))
    if lengthened:
        return Choice(lengthened)
    if not others:
        return Choice(free[0])
    before, changed = max(others, key=lambda other: (other[0].output / "config.json").stat().st_mtime_ns)
    if config.start_epoch is not None:
        before.check(replace(config, run=before.name))  # goes back within a run: raises what differs
        raise UserError(f"start_epoch goes back within a run, and '{before.name}' has another {' and another '.join(changed)}")
    return Choice(free[0], before, changed)


def _changes(run, config, origin):
    """Return {name: (value there, value here)} of what a config changes of a run; None if the folder holds no run."""
    if not (run.output / "config.json").is_file():
        return None
    changed = run.changes(config)
    with contextlib.suppress(UserError):  # if the record is damaged, settings alone decide
        recorded = environments_of(run)[-1]
        for name, shown in ORIGIN.items():
            if name in recorded and recorded[name] != origin[name]:
                changed[shown] = recorded[name], origin[name]
    return changed


def _existing_and_next(first):
    """Return the runs `first`, `first-2`, `first-3` ... that have folders, and the next one that has none."""
    pattern = re.compile(re.escape(first.name) + r"-(\d+)")
    found = (pattern.fullmatch(path.name) for path in first.output.parent.glob(f"{escape(first.name)}-*"))
    numbers = {int(match[1]) for match in found if match}
    numbers.add(next(number for number in count(2) if number not in numbers))
    return [first, *(_with_number(first, number) for number in sorted(numbers - {0, 1}))]


def _with_number(run, number):
    return Run(f"{run.name}-{number}", run.output.parent, run.weights.parent)
