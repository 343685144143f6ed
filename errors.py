"""What a user reads when something they asked for is wrong: one line, exit code 2."""

import difflib
import errno
import os
import sys
import sysconfig
import traceback
import unicodedata

CONFIG = os.path.join(os.path.dirname(__file__), "config.py")
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")} | {sys.prefix})
# What a path that a user names can lead to, and what a disk can do whatever the path.
PATHS = "ENOENT EACCES EPERM EEXIST ENOTDIR EISDIR ENAMETOOLONG ELOOP ENXIO ENODEV EBUSY ETXTBSY EINVAL EILSEQ ENOTEMPTY EXDEV"
DISKS = "ENOSPC EDQUOT EFBIG EIO EROFS ESTALE EMFILE ENFILE"
OF_PATHS, OF_DISKS = ({getattr(errno, name) for name in names.split() if hasattr(errno, name)} for names in (PATHS, DISKS))
JOINERS = "\u200c\u200d"


class UserError(Exception):
    """A user's mistake: what is wrong, what is allowed, the nearest match, in one line."""

    exit_code = 2


class RunFailure(UserError):
    """What ended a run midway, such as a full disk: what happened, what is left, how to go on, in one line."""

    exit_code = 1


def unknown(kind, name, allowed, hint=""):
    """The UserError for a name that is not among the allowed ones."""
    allowed = list(allowed)
    likeness = {other: difflib.SequenceMatcher(None, str(name), other).ratio() for other in allowed}
    best = max(allowed, key=likeness.get, default=None)
    nearest = f"; did you mean '{best}'?" if allowed and likeness[best] >= 0.5 else ""
    listed = f" (allowed: {', '.join(allowed)})" if len(allowed) <= 12 else ""
    return UserError(f"unknown {kind} {str(name)!r}{nearest}{listed}{f' ({hint})' if hint else ''}")


def same_text(name, allowed):
    """The allowed name that is the same text, whatever characters compose it (NFC, NFD); None where there is none."""
    if name in allowed:
        return name
    return next((other for other in allowed if normal(other) == normal(name)), None)


def normal(text):
    """A text as it is compared: an accent is one character with its letter, wherever the name was typed or unpacked."""
    return unicodedata.normalize("NFC", text)


def printable(text):
    """A name from elsewhere as a line of text: it can't steer the terminal, nor fail to be shown where it is not UTF-8.

    Spaces of all kinds become the ordinary one; joiners, which scripts and emoji need, stay.
    """
    shown = (" " if unicodedata.category(c) == "Zs" else c if c.isprintable() or c in JOINERS else "?" for c in str(text))
    return "".join(shown)


def first_line(error):
    """Of what a library says: the rest is for its developers."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


def one_line(error, most=2000):
    """What an error says, on one line of at most so many characters, which can't steer the terminal."""
    line = " ".join(str(error).split())
    line = line if len(line) <= most else f"{line[: most - 200]} ... {line[-195:]}"
    return printable(line)


def run_script(main):
    """Runs a script's `main`: exit code 0, an error's own with its one line, 130 for Ctrl-C; a bug keeps its traceback."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold what the terminal's encoding lacks
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(_say(error, error.exit_code))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted", 130))
    except BrokenPipeError:
        # The reader of a pipe left (`python dispatcher.py | head`): nothing to say, and nobody to say it to.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        slip = error if is_of_the_system(error) else _slip_in_config(error)
        if not slip:
            raise
        sys.exit(_say(slip, UserError.exit_code))


def is_of_the_system(error):
    """Whether an error is one that a user's path or disk can cause: what it names may not be read or written, is not there, or
    has no room. Other errors that Python derives from OSError, and missing files of the program's own, are bugs."""
    if not isinstance(error, OSError) or error.errno not in OF_PATHS | OF_DISKS:
        return False
    if error.errno in OF_DISKS:
        return True
    path = os.path.abspath(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else None
    return path is not None and not path.endswith(".py") and not any(path.startswith(own + os.sep) for own in LIBRARIES)


def _slip_in_config(error):
    """The line of config.py, which its user edits, and what Python says of it, where that is why it can't be executed.

    What fails later, or in a file that config.py imports, is no slip of its user, even where it passes through config.py.
    """
    if isinstance(error, SyntaxError):
        return f"config.py, line {error.lineno}: {error.msg}" if error.filename == CONFIG else None
    places = [(frame.f_code.co_filename, frame.f_code.co_name, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [place for place in places if _is_ours(place[0])]
    is_executed = any(file == CONFIG and name == "<module>" for file, name, _ in own)
    return f"config.py, line {own[-1][2]}: {error}" if is_executed and own[-1][0] == CONFIG else None


def _is_ours(file):
    """Whether a file is this project's, not Python's or a library's."""
    return file.startswith(os.path.dirname(CONFIG) + os.sep) and not any(file.startswith(own + os.sep) for own in LIBRARIES)


def _is_first():
    """Of processes that train one network together."""
    return os.environ.get("RANK", "0") == "0"


may_speak = _is_first  # whether this process prints its error; replicas.py knows better once processes have met


def _say(error, code):
    if may_speak():
        print(f"error: {one_line(error)}", file=sys.stderr)
    return code
