"""Checks of settings against their declarations."""

from typing import Literal, get_args, get_origin

from foundation import backend
from foundation.aliases import unknown_setting
from foundation.allowed import KINDS
from foundation.errors import UserError, unknown
from foundation.settings import SETTINGS, Config


def checked(values) -> Config:
    """Return the Config of `{name: value}`; what is missing has its shipped value. Raises a UserError that names all faults."""
    for name in values:
        if name not in SETTINGS:
            raise unknown_setting(name, SETTINGS)
    config = Config(**values)
    check(config)
    return config


def check(config):
    """Raise a UserError that names all faults of a Config at once."""
    faults = [fault for name in SETTINGS if (fault := fault_of(name, getattr(config, name)))]
    if faults := faults or _combinations(config):
        raise UserError("; ".join(faults))


def fault_of(name, value) -> str | None:
    """Return what is wrong with a value of a setting, or None."""
    kind = SETTINGS[name].type
    if get_origin(kind) is Literal:
        return None if value in get_args(kind) else f"{name}: {unknown('value', value, get_args(kind))}"
    allowed = get_args(kind) or (kind,)
    if float in allowed:
        allowed += (int,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        return f"{name} is {value!r}, allowed: {' or '.join(KINDS[one] for one in get_args(kind) or (kind,))}"
    demand = SETTINGS[name].condition(value)
    return f"{name} is {value!r}, allowed: {demand}" if demand else None


def _combinations(config):
    faults = []
    if config.nesterov and (config.optimizer not in ("sgd", "muon") or config.momentum == 0):
        faults.append("nesterov needs optimizer 'sgd' or 'muon' and a momentum above 0")
    if config.colour == "grey" and config.augment not in ("none", "standard"):
        faults.append(f"augment '{config.augment}' is for images in colour, allowed with colour 'grey': none, standard")
    if config.monitor == "val_f1_macro" and not config.track_f1:
        faults.append("monitor 'val_f1_macro' needs track_f1")
    if config.start_epoch is not None and config.start_epoch >= config.epochs:
        faults.append(f"start_epoch ({config.start_epoch}) must be below epochs ({config.epochs})")
    if config.growth_epochs > config.epochs:
        faults.append(f"growth_epochs ({config.growth_epochs}) must be at most epochs ({config.epochs})")
    if bool(config.growth_epochs) != bool(config.start_size):
        faults.append("start_size and growth_epochs go together: images grow from that size over so many epochs")
    if config.execution != "auto" and not backend.traits().has_executions:
        faults.append(f"execution '{config.execution}' is for torch: {backend.name()} compiles every step by itself")
    if config.execution == "compile" and config.sync_norm:
        faults.append("execution 'compile' does not go together with sync_norm, allowed: auto, eager")
    if config.start_epoch is not None and config.resume == "never":
        faults.append("start_epoch goes back within an existing run, which resume 'never' refuses")
    return faults
