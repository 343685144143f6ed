"""Paths as users type them."""

import os
from pathlib import Path

from errors import UserError


def is_nobodys(text):
    """Whether it lies in the home of a user whom this machine does not have."""
    return os.path.expanduser(text).startswith("~")


def typed_path(text):
    """The path that a user typed, `~` being their home. Raises UserError for the home of nobody."""
    if is_nobodys(text):
        raise UserError(f"'{text}': this machine has no such user")
    return Path(os.path.expanduser(text))
