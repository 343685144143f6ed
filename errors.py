"""Errors for users: one line that says what is wrong, and exit code 2."""

import difflib
import errno
import os
import sys
import sysconfig
import traceback
import unicodedata

CONFIG = os.path.join(os.path.dirname(__file__), "config.py")
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


def unknown(kind, name, allowed, hint=""):
    """Return the UserError for a name that is not allowed, with the nearest allowed name."""
    allowed = list(allowed)
    likeness = {other: difflib.SequenceMatcher(None, str(name), other).ratio() for other in allowed}
    best = max(allowed, key=likeness.get, default=None)
    nearest = f"; did you mean '{best}'?" if allowed and likeness[best] >= 0.5 else ""
    listed = f" (allowed: {', '.join(allowed)})" if len(allowed) <= 12 else ""
    return UserError(f"unknown {kind} {str(name)!r}{nearest}{listed}{f' ({hint})' if hint else ''}")


def same_text(name, allowed):
    """Return the allowed name that is the same text in any Unicode composition (NFC, NFD), or None if there is none."""
    if name in allowed:
        return name
    return next((other for other in allowed if normal(other) == normal(name)), None)


def normal(text):
    """Return a text in the form that is compared: NFC, in which an accented letter is one character however it was typed."""
    return unicodedata.normalize("NFC", text)


def printable(text):
    """Return a foreign name as a line of text that can't control the terminal and can be shown even if it is not UTF-8.

    Spaces of all kinds become the ordinary space. Joiners stay, because scripts and emoji need them.
    """
    shown = (" " if unicodedata.category(c) == "Zs" else c if c.isprintable() or c in JOINERS else "?" for c in str(text))
    return "".join(shown)


def first_line(error):
    """Return the first line of a library's error, at most 200 characters; other lines are for the library's developers."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def one_line(error, most=2000):
    """Return the text of an error on one line of at most `most` characters that can't control the terminal."""
    line = " ".join(str(error).split())
    line = line if len(line) <= most else f"{line[: most - 200]} ... {line[-195:]}"
    return printable(line)


def run_script(main):
    """Run a script's `main` and exit: with 0, with 130 for Ctrl-C, or with an error's own code after printing its one line.

    A bug keeps its traceback.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold what the terminal's encoding lacks
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(_say(error, error.exit_code))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted", 130))
    except BrokenPipeError:
        # The reader of a pipe has left (`python dispatcher.py | head`): nobody would read a message.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        slip = error if is_of_the_system(error) else _slip_in_config(error)
        if not slip:
            raise
        sys.exit(_say(slip, UserError.exit_code))


def is_of_the_system(error):
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


def _slip_in_config(error):
    """Return the line of config.py that can't be executed, with Python's message, or None if that is not the cause of an error.

    An error that is raised later, or in a file that config.py imports, is no mistake in config.py, even if the error passes
    through it.
    """
    if isinstance(error, SyntaxError):
        return f"config.py, line {error.lineno}: {error.msg}" if error.filename == CONFIG else None
    places = [(frame.f_code.co_filename, frame.f_code.co_name, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [place for place in places if _is_ours(place[0])]
    is_executed = any(file == CONFIG and name == "<module>" for file, name, _ in own)
    return f"config.py, line {own[-1][2]}: {error}" if is_executed and own[-1][0] == CONFIG else None


def _is_ours(file):
    """Return whether a file belongs to this project, not to Python or a library."""
    return file.startswith(os.path.dirname(CONFIG) + os.sep) and not any(file.startswith(own + os.sep) for own in LIBRARIES)


def _is_first():
    """Return whether this is the first of the processes that train one network together."""
    return os.environ.get("RANK", "0") == "0"


may_speak = _is_first  # whether this process prints its error; replicas.py replaces this function once processes have joined


def _say(error, code):
    if may_speak():
        print(f"error: {one_line(error)}", file=sys.stderr)
    return code
