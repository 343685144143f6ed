"""Declaration of a setting."""

from dataclasses import field, fields
from typing import NamedTuple, get_type_hints

from foundation.allowed import anything


def setting(shipped, sentence, condition=anything, *, is_free=False, part=None, heading=None):
    """Declare a setting as a field of a dataclass.

    A `condition` (see `allowed`) is checked beyond the type. A setting that `is_free` may differ between the parts of one run: it
    changes where the run is kept or how long it lasts, not what it computes. `part` is the field of the architecture that a
    setting overrides; its shipped value leaves the field to the model. A `heading` begins a group of settings.
    """
    return field(default=shipped, metadata={"own": (sentence, condition, is_free, part, heading)})


class Setting(NamedTuple):
    """Declaration of a setting, as it is read; see `setting`."""

    name: str
    type: object
    shipped: object
    heading: str
    sentence: str
    condition: object
    is_free: bool
    part: str | None


def declared(config_class):
    """Return {name: Setting} of a dataclass, in order."""
    types, heading, found = get_type_hints(config_class), "", {}
    for each in fields(config_class):
        sentence, condition, is_free, part, begins = each.metadata["own"]
        heading = begins or heading
        found[each.name] = Setting(each.name, types[each.name], each.default, heading, sentence, condition, is_free, part)
    return found
