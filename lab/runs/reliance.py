"""`trust.json`: what `evaluate.py RUN --trust` found of a run, for exports and predictions that build on it.

`temperature.value` is the number that logits are divided by before the softmax, fitted on val (1.0 where none could be), and
`selective.threshold.value` the confidence from which on answers had at most `selective.threshold.error` errors on val, or null.
"""

from foundation.errors import UserError
from lab.runs.contents import is_number

FILE = "trust.json"
LOWEST, HIGHEST = 1e-3, 1e3  # temperatures that are believed


def temperature_of(run) -> float:
    """Return the temperature of a run's logits; 1.0 if the run has no `trust.json`. Raises UserError if that is damaged."""
    if not has_trust(run):
        return 1.0
    value = _value(run, "temperature", "value")
    if fault := fault_of_temperature(value):
        raise _damaged(run, f"temperature.value {fault}")
    return float(value)


def fault_of_temperature(value) -> str | None:
    """Return what is wrong with a temperature of a file, or None."""
    return None if is_number(value, LOWEST, HIGHEST) else f"should be a number from {LOWEST:g} to {HIGHEST:g}"


def threshold_of(run) -> float:
    """Return the confidence below which a run's answers are refused. Raises UserError if the run has none."""
    if not has_trust(run):
        raise UserError(f"run '{run.name}' has no {FILE}: `python evaluate.py {run.name} --trust` writes it")
    value = _value(run, "selective", "threshold", "value")
    if value is None:
        raise UserError(f"run '{run.name}' has no threshold: no share of val has so few errors; give --threshold a number")
    if not is_number(value, 0, 1):
        raise _damaged(run, "selective.threshold.value should be from 0 to 1")
    return float(value)


def has_trust(run):
    return (run.output / FILE).is_file()


def _value(run, *names):
    found = run.read_json(FILE)
    for name in names:
        if not isinstance(found, dict) or name not in found:
            raise _damaged(run, f"{'.'.join(names)} is missing")
        found = found[name]
    return found


def _damaged(run, why):
    return UserError(f"{run.output / FILE} is damaged: {why}")
