"""Errors for users: one line that says what is wrong, and exit code 2."""

import difflib
import errno
import os
import sys
import sysconfig
import unicodedata

LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")} | {sys.prefix})
# Errors that a path named by a user can cause, and errors that a disk can cause whatever the path.
PATHS = "ENOENT EACCES EPERM EEXIST ENOTDIR EISDIR ENAMETOOLONG ELOOP ENXIO ENODEV EBUSY ETXTBSY EINVAL EILSEQ ENOTEMPTY EXDEV"
DISKS = "ENOSPC EDQUOT EFBIG EIO EROFS ESTALE EMFILE ENFILE"
OF_PATHS, OF_DISKS = ({getattr(errno, name) for name in names.split() if hasattr(errno, name)} for names in (PATHS, DISKS))
JOINERS = "\u200c\u200d"


class UserError(Exception):
    """A user's mistake: one line with what is wrong, what is allowed and the nearest match."""

    exit_code = 2


class RunFailure(UserError):
    """A failure that ended a run midway, such as a full disk: one line with what happened, what is left and how to go on."""

    exit_code = 1


def unknown(kind, name, allowed, hint="") -> UserError:
    """Return the UserError for a name that is not allowed, with the nearest allowed name."""
    allowed = list(allowed)
    likeness = {other: difflib.SequenceMatcher(None, str(name), other).ratio() for other in allowed}
    best = max(allowed, key=likeness.__getitem__, default=None)
    nearest = f"; did you mean '{best}'?" if allowed and likeness[best] >= 0.5 else ""
    notes = [f"allowed: {', '.join(allowed)}" if allowed else "there is none"] if len(allowed) <= 12 else []
    told = "; ".join(notes + ([hint] if hint else []))
    return UserError(f"unknown {kind} {str(name)!r}{nearest}{f' ({told})' if told else ''}")


def same_text(name, allowed):
    """Return the allowed name that is the same text in any Unicode composition (NFC, NFD), or None if there is none."""
    if name in allowed:
        return name
    return next((other for other in allowed if normal(other) == normal(name)), None)


def normal(text) -> str:
    """Return a text in the form that is compared: NFC, in which an accented letter is one character however it was typed."""
    return unicodedata.normalize("NFC", text)


def printable(text) -> str:
    """Return a foreign name as a line of text that can't control the terminal and can be shown even if it is not UTF-8.

    Spaces of all kinds become the ordinary space. Joiners stay, because scripts and emoji need them.
    """
    shown = (" " if unicodedata.category(c) == "Zs" else c if c.isprintable() or c in JOINERS else "?" for c in str(text))
    return "".join(shown)


def first_line(error) -> str:
    """Return the first line of a library's error, at most 200 characters; other lines are for the library's developers."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def one_line(error, most=2000) -> str:
    """Return the text of an error on one line of at most `most` characters that can't control the terminal."""
    line = " ".join(str(error).split())
    line = line if len(line) <= most else f"{line[: most - 200]} ... {line[-195:]}"
    return printable(line)


def is_of_the_system(error) -> bool:
    """Return whether a user's path or disk can cause an error.

    Such a path is missing or may not be read or written; such a disk is full. Other errors that Python derives from OSError, and
    missing files of the program itself, are bugs.
    """
    if not isinstance(error, OSError) or error.errno not in OF_PATHS | OF_DISKS:
        return False
    if error.errno in OF_DISKS:
        return True
    path = os.path.abspath(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else None
    return path is not None and not path.endswith(".py") and not any(path.startswith(own + os.sep) for own in LIBRARIES)
