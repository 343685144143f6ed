"""Settings that decide whether two runs are the same computation."""

from collections.abc import Callable
from dataclasses import asdict, replace

import dispatcher
from foundation.settings import FREE
from lab.runs import places

EARLIER_BATCH_SIZE = 32  # where none was given


def settings_of(config):
    """Return {name: value} of what a run computes by: a setting left to the model has the value of the model's own part."""
    settings = {name: value for name, value in asdict(config).items() if name not in FREE}
    return settings | dispatcher.settled(config) | places.settled_paths(config)


def settings_of_all_seeds(config):
    """Return ((name, value), ...) of what a run computes by, equal for runs that repeat one another with other seeds.

    Such runs may each start from the run of their own seed.
    """
    settings = settings_of(config)
    source = settings["init_from"].removesuffix(f"-{config.seed}")
    return tuple((settings | {"seed": None, "init_from": source}).items())


def changes_of(old, new):
    """Return {setting: (value of the old config, value of the new one)} of differing settings that a run computes by.

    The precision "auto" of a new config differs from none: a run keeps the precision that it began with. A batch size that the
    new config leaves to us does not differ from 32, with which runs of earlier versions began.
    """
    if new.precision == "auto":
        new = replace(new, precision=old.precision)
    if not new.batch_size and old.batch_size == EARLIER_BATCH_SIZE:
        new = replace(new, batch_size=old.batch_size)
    old, new = settings_of(old), settings_of(new)
    return {name: (old[name], value) for name, value in new.items() if old[name] != value}


def in_words(name, value, as_text: Callable[[object], str] = str) -> str:
    """Return the value of a setting for a message: a rate or a batch size of 0 is one that is chosen by rule."""
    return "chosen by rule" if name in ("init_lr", "batch_size") and value == 0 else as_text(value)


def change_in_words(name, old, new) -> str:
    """Return such as "epochs 20 -> 40"."""
    return f"{name} {in_words(name, old, repr)} -> {in_words(name, new, repr)}"


def adds_epochs_alone(old, new, changed):
    """Return whether a config only makes a run longer, and the rate does not depend on the number of epochs.

    Then everything that was computed stays valid.
    """
    return list(changed) == ["epochs"] and new.epochs > old.epochs and new.schedule in ("constant", "plateau")
