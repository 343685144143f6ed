"""Published results of studies: `results/<study>/<scale>/`, a record of every finished run, from which RESULTS.md is made."""

import shlex
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

from foundation.errors import UserError
from foundation.files import as_json, read_json, write_file
from foundation.settings import FREE, SETTINGS
from lab import studies
from lab.runs.contents import is_number
from lab.runs.record import as_lines, published_settings, record_of, rounded, unpack
from lab.studies.arm_run import ArmRun
from lab.studies.by_looks import FILE as LOOKS
from lab.studies.by_looks import read_plan
from lab.studies.study import SOURCE, Session

FOLDER = "results"
MEASURES = "measures.json"  # of a scale: {arm: {measure: {"value", "device"}}}
IN_PLAN = FREE | {"seed", "precision", "init_from"}  # settings that a command does not name, or that a run settles


class Publisher:
    """Writes the records of a study's runs as they finish. Raises UserError for runs that those already there do not fit."""

    def __init__(self, name, scale, runs, folder):
        if runs and name not in studies.names():
            raise UserError(f"'{name}' has no file: --publish takes a study ({', '.join(studies.names())})")
        self.name, self.scale, self.runs, self.folder = name, scale, runs, Path(folder) / name / scale
        self.published = set()

    def restore(self):
        """Unpack the records of planned runs that have not begun here, so that they count as finished; return their names.

        Not those that others start from, whose weights no record holds. Raises UserError for a record of other settings.
        """
        records, sources = _records(self.folder) if self.runs else {}, {id(planned.needs) for planned in self.runs}
        restored = []
        for planned in self.runs:
            record = records.get(self.folder / f"{planned.run.name}.json")
            if record is None or id(planned) in sources or planned.run.has_begun():
                continue
            config = replace(planned.config, precision=record["config"].get("precision", planned.config.precision))
            planned_settings = rounded(record["config"] | published_settings(config))
            if differing := _differing(planned_settings, record["config"]):
                raise UserError(
                    f"the record of '{planned.run.name}' in {self.folder} has another {differing[0]}: "
                    f"{record['config'][differing[0]]} (remove it, or publish elsewhere by --published-dir)"
                )
            unpack(record, planned.run.name, planned.run.output.parent)
            planned.run.write_json("config.json", asdict(config))
            restored.append(planned.run.name)
        self.published |= set(restored)  # as they are: nothing of them is new
        return restored

    def publish(self):
        """Write the records of runs that have finished since the last call; return their paths."""
        waiting = [planned for planned in self.runs if planned.run.name not in self.published and planned.is_finished()]
        known = _records(self.folder) if waiting else {}
        written = []
        for planned in waiting:
            record = {"arm": planned.arm, **record_of(planned.run)}
            path = self.folder / f"{planned.run.name}.json"
            self.published.add(planned.run.name)
            if known.get(path) == record:
                continue  # it was unpacked by an earlier command: as it was written, it stays
            _check_fits(record, {file: other for file, other in known.items() if file != path})
            known[path] = record
            write_file(path, as_lines(record))
            written.append(path)
        return written

    def publish_measures(self, kept):
        """Write {arm: {measure: entry}}, what was measured of the networks beside accuracy, without the settings of entries."""
        arms = {planned.arm for planned in self.runs if planned.run.name in self.published}
        found = {
            arm: {name: {key: entry[key] for key in ("value", "device")} for name, entry in entries.items()}
            for arm, entries in kept.items()
            if arm in arms and entries
        }
        if found:
            write_file(self.folder / MEASURES, as_json(found))


def _check_fits(record, known):
    """Raise a UserError if a record's arm was published with other settings, or its seed with other data."""
    for path, other in known.items():
        if record["arm"] == other["arm"] and (differing := _differing(record["config"], other["config"])):
            name = differing[0]
            raise UserError(
                f"{path} is of arm '{record['arm']}' with {name} {other['config'].get(name)}, not {record['config'].get(name)}:"
                " results of a scale share their settings (remove those, or publish elsewhere by --published-dir)"
            )
        if _data_of(record) != _data_of(other) and _draw_of(record) == _draw_of(other):
            raise UserError(f"{path} was computed on other images of {other['config']['dataset']}: arms share their data")


def _differing(one, other):
    """Return the names of differing settings that all seeds of an arm share."""
    return sorted(name for name in (one.keys() | other.keys()) - {"seed", "init_from"} if one.get(name) != other.get(name))


def _data_of(record):
    return record["environment"][0].get("data")


def _draw_of(record):
    names = ("dataset", "seed", "image_size", "images_per_class", "class_seed", "val_fraction", "colour", "group_by")
    return [record["config"][name] for name in names]


def _records(folder):
    """Return {path: record} of a scale, with the settings that came after a record as they are shipped: so it was computed.

    Raises UserError for a file that holds none.
    """
    shipped = {name: each.shipped for name, each in SETTINGS.items() if name not in FREE}
    found = {}
    for path in sorted(folder.glob("*.json")):
        if path.name in (MEASURES, LOOKS):
            continue
        found[path] = read_json(path)
        if not isinstance(found[path], dict) or not isinstance(found[path].get("arm"), str):
            raise UserError(f"{path} is no record of a run")
        if not isinstance(found[path].get("config"), dict) or not found[path].get("environment"):
            raise UserError(f"{path} is damaged: config or environment is missing")
        found[path]["config"] = shipped | found[path]["config"]
    return found


def sessions(folder, work, only=None):
    """Return a Session for each study and scale of published results, whose runs are unpacked below `work`; `only` of a study.

    Raises UserError for records that are damaged or of no study.
    """
    found = []
    for place in sorted(path for path in Path(folder).glob(f"{only or '*'}/*") if path.is_dir()):
        if records := _records(place):
            found.append(_session(place, records, Path(work)))
    return found


def _session(place, records, work):
    name, scale = place.parent.name, place.name
    study = studies.find(name)
    known = [arm.name for arm in study.arms_at(scale)] + [SOURCE] * bool(study.source_run)
    runs, first_seeds = [], {arm.name: arm.first_seed for arm in study.arms}
    for path, record in records.items():
        if record["arm"] not in known:
            raise UserError(f"{path} is of arm '{record['arm']}', which study '{name}' does not have at scale {scale}")
        run = unpack(record, path.stem, work / name / scale)
        settings = run.read_settings()
        runs.append(ArmRun(settings, arm=record["arm"], seed=settings.seed - first_seeds.get(record["arm"], 0)))
    runs.sort(key=lambda planned: (planned.seed, known.index(planned.arm)))
    sources = {planned.seed: planned for planned in runs if planned.arm == SOURCE}
    compared = [
        replace(planned, needs=sources.get(planned.seed) if planned.config.init_from else None)
        for planned in runs
        if planned.arm != SOURCE
    ]
    look_plan, margin = read_plan(place) or (None, study.margin)
    command = _command(study, name, scale, compared, look_plan, margin)
    return Session(replace(study, margin=margin), name, scale, compared, command, look_plan)


def measures_of(folder, session):
    """Return {arm: {measure: {"value", "device"}}} of published results; {} if nothing was measured. Raises UserError."""
    path = Path(folder) / session.name / session.scale / MEASURES
    if not path.is_file():
        return {}
    found = read_json(path)
    if not isinstance(found, dict) or not all(map(_is_measured, found.values())):
        raise UserError(f"{path} is damaged: it should hold a value and a device for each arm and measure")
    return found


def _is_measured(entries):
    return isinstance(entries, dict) and all(
        isinstance(entry, dict) and is_number(entry.get("value")) and isinstance(entry.get("device"), str)
        for entry in entries.values()
    )


def _command(study, name, scale, runs, look_plan, margin):
    """Return the command that makes such runs: the study's, with what all runs have otherwise than the study plans."""
    changed = Counter()
    for planned in runs:
        arm = next(arm for arm in study.arms if arm.name == planned.arm)
        (usual,) = [each for each in study.plan(name, scale, [arm], 1, "output", {}) if each.arm == arm.name]
        usual, own = published_settings(usual.config), published_settings(planned.config)
        changed.update(
            (setting, str(own[setting])) for setting in own if setting not in IN_PLAN and own[setting] != usual[setting]
        )
    words = ["python", "study.py", name, "--scale", scale]
    of_all = {setting: value for (setting, value), count in changed.items() if count == len(runs)}
    flags = {"dataset": "--data", "epochs": "--epochs"}
    for setting, flag in flags.items():
        words += [flag, of_all.pop(setting)] if setting in of_all else []
    if look_plan:
        words += ["--detect", f"{look_plan.detect:g}", "--most-seeds", str(look_plan.most), "--margin", f"{margin:g}"]
    else:
        words += ["--seeds", str(1 + max(planned.seed for planned in runs))]
    words += ["--set", *(f"{setting}={value}" for setting, value in sorted(of_all.items()))] if of_all else []
    return shlex.join([*words, "--publish"])
