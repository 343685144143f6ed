"""Paths as users type them."""

import os
from hashlib import sha256
from pathlib import Path

from foundation.errors import UserError


def short_name(text, most=100) -> str:
    """Return a text as a name of a file or folder of at most `most` bytes; one that is longer ends in a digest of the whole."""
    whole = os.fsencode(text)
    if len(whole) <= most:
        return text
    return f"{whole[: most - 9].decode(errors='ignore')}-{sha256(whole).hexdigest()[:8]}"


def is_nobodys(text):
    """Return whether a path lies in the home of a user whom this machine does not have."""
    return os.path.expanduser(text).startswith("~")


def typed_path(text) -> Path:
    """Return the path that a user typed; `~` is the user's home. Raises UserError for the home of an unknown user."""
    if is_nobodys(text):
        raise UserError(f"'{text}': this machine has no such user")
    return Path(os.path.expanduser(text))
