"""Paths as users type them."""

import os
from pathlib import Path

from foundation.errors import UserError


def is_nobodys(text):
    """Return whether a path lies in the home of a user whom this machine does not have."""
    return os.path.expanduser(text).startswith("~")


def typed_path(text) -> Path:
    """Return the path that a user typed; `~` is the user's home. Raises UserError for the home of an unknown user."""
    if is_nobodys(text):
        raise UserError(f"'{text}': this machine has no such user")
    return Path(os.path.expanduser(text))
