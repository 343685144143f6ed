"""Questions, one file each: what is compared, what is held equal, what was claimed. See `lab.studies.study`.

Each file of this folder that defines `STUDY` is a study; nothing else needs to know of it.
"""

import pkgutil
from importlib import import_module

from foundation.errors import unknown


def names() -> list[str]:
    """Return the names of all studies."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if hasattr(import_module(f"{__name__}.{name}"), "STUDY"))


def find(name):
    """Return the study of that name. Raises UserError."""
    if name not in names():
        raise unknown("study", name, names(), "python study.py lists all")
    return import_module(f"{__name__}.{name}").STUDY
