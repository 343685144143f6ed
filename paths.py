"""Paths as users type them."""

import os
from pathlib import Path

from errors import UserError


def typed_path(text):
    """The path that a user typed, `~` being their home. Raises UserError for the home of nobody."""
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise UserError(f"'{text}': this machine has no such user")
    return Path(path)
