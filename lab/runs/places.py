"""Places of a run's data and weights: found from the run, wherever it was moved to, and never from the current folder.

`identity.json` in a run's output folder holds the run's id and the places of what it was made of. The id is made when the run
begins and is written into every checkpoint and export. Each place is stored absolutely, and relative to the run's output folder,
so that a moved or copied project works.
"""

import os
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from foundation.errors import UserError
from foundation.files import parse_json, read_regular
from foundation.paths import typed_path

FILE = "identity.json"


@dataclass(frozen=True)
class Place:
    """A path as it was when the run was last written, and the same path relative to the run's output folder.

    Either may be unknown, None: an earlier version recorded only what the user typed.
    """

    path: str | None
    from_run: str | None

    @classmethod
    def of(cls, path, output):
        path, output = os.path.abspath(typed_path(path)), os.path.abspath(output)
        return cls(path, os.path.relpath(path, output))

    @classmethod
    def as_typed(cls, text, config):
        """Return a place that an earlier version recorded as typed, relative to the folder of that command.

        It is known relative to the run's output folder if the output folder was typed relative to that same folder.
        """
        if typed_path(text).is_absolute():
            return cls(str(typed_path(text)), None)
        if typed_path(config.output_dir).is_absolute():
            return cls(None, None)
        return cls(None, os.path.relpath(text, os.path.join(config.output_dir, "run")))

    def candidates(self, output):
        """Return where the place may be now, the likeliest path first: beside the run, then where it was."""
        found = []
        if self.from_run is not None:
            # through symbolic links as they are written, then as they lead
            found += [os.path.normpath(base / self.from_run) for base in (Path(os.path.abspath(output)), output.resolve())]
        if self.path is not None:
            found.append(self.path)
        return [Path(path) for path in dict.fromkeys(found)]


def new_id() -> str:
    """Return an id for a run that begins."""
    return uuid.uuid4().hex


def places_of(config, output, weights):
    """Return {setting: Place} of a run that is written now. Its settings are relative to this process's current folder."""
    typed = {"data_dir": config.data_dir, "weights": weights}
    typed |= {"dataset": folder_of(config)} if folder_of(config) else {}
    typed |= {"init_from": source_of(config)} if source_of(config) else {}
    return {name: Place.of(path, output) for name, path in typed.items()}


def places_as_typed(config, name):
    """Return {setting: Place} of a run of an earlier version, from its settings alone."""
    typed = {"data_dir": config.data_dir, "weights": os.path.join(config.weights_dir, name)}
    typed |= {"dataset": folder_of(config)} if folder_of(config) else {}
    return {setting: Place.as_typed(path, config) for setting, path in typed.items()}


def folder_of(config):
    """Return the path in a `folder:PATH` data set; empty for others."""
    kind, _, path = config.dataset.partition(":")
    return path if kind == "folder" else ""


def source_of(config):
    """Return the path of the run or file that `init_from` names; None if it names none."""
    named = config.init_from
    if not named or named.startswith("keras-hub:"):
        return None
    path = typed_path(named)
    is_path = named.endswith((".safetensors", ".keras")) or ((path / "config.json").is_file() and path.name != named)
    return path if is_path else typed_path(config.output_dir) / named


def located(config, output, places):
    """Return the settings of a run with the paths at which its data and the source of its first weights are found now."""
    found = {"output_dir": str(output.parent)}
    if "data_dir" in places:
        found["data_dir"] = str(_existing(places["data_dir"], output) or config.data_dir)
    if "dataset" in places:
        found["dataset"] = f"folder:{_existing(places['dataset'], output) or folder_of(config)}"
    if "init_from" in places:
        found["init_from"] = str(_existing(places["init_from"], output) or config.init_from)
    return replace(config, **found)


def settled_paths(config) -> dict[str, str]:
    """Return {setting: value} of the settings that name paths, equal for all ways to write the same path."""
    paths = {"dataset": f"folder:{os.path.realpath(typed_path(folder_of(config)))}"} if folder_of(config) else {}
    source = source_of(config)
    return paths | ({"init_from": os.path.realpath(source)} if source else {})


def _existing(place, output):
    """Return the first candidate that exists, else one that could be created for data to download; or None."""
    candidates = place.candidates(output)
    could_be = [path for path in reversed(candidates) if path.parent.is_dir()] or candidates
    return next((path for path in candidates if path.exists()), could_be[0] if could_be else None)


def find_weights(place, fallback, output, is_own):
    """Return the folder of a run's checkpoints.

    It is the first whose newest checkpoint is the run's own, else the first that has any, else the first. `fallback` is the
    folder where an earlier version looked, relative to the current folder.
    """
    candidates = place.candidates(output) + ([fallback] if place.path is None else [])
    states = {path: state for path in candidates if (state := newest_state(path)) is not None}
    return next((path for path, state in states.items() if is_own(state)), next(iter(states), candidates[0]))


def newest_state(folder):
    """Return the state in the newest checkpoint below a folder; None if there is none, {} if it can't be read."""
    checkpoints = sorted(folder.glob("epoch-*/state.json")) if folder.is_dir() else []
    if not checkpoints:
        return None
    try:
        state = parse_json(read_regular(checkpoints[-1]))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def is_of(state, run_id, history):
    """Return whether a checkpoint belongs to the run of an id.

    If one of them has no id, the histories decide: they must be equal until the first of them ends.
    """
    theirs = state.get("run")
    if run_id and theirs:
        return run_id == theirs
    kept = state.get("monitor")
    if not isinstance(kept, dict) or not isinstance(history, dict):
        return True  # nothing is known of the one or the other
    both = [(kept[name], history[name]) for name in kept.keys() & history.keys()]
    lists = [pair for pair in both if all(isinstance(values, list) for values in pair)]
    return all(a == b for pair in lists for a, b in zip(*pair, strict=False))


def read_places(recorded):
    """Return {setting: Place} from the content of `identity.json`. Raises UserError if it is damaged."""
    try:
        found = {name: Place(place["path"], place["from_run"]) for name, place in recorded["places"].items()}
        for path in (path for place in found.values() for path in (place.path, place.from_run) if path is not None):
            if "\0" in path:
                raise ValueError("a path holds a zero byte")
            os.fsencode(path)  # raises UnicodeEncodeError, a ValueError, for what is no name
        if Place(None, None) in (found["weights"], found["data_dir"], *found.values()):
            raise ValueError("a place is empty")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{FILE} is damaged: {error!r}") from error
    return found
