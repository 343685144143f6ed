"""What a user reads when something they asked for is wrong: one line, exit code 2."""

import difflib
import os
import sys
import traceback
import unicodedata

CONFIG = os.path.join(os.path.dirname(__file__), "config.py")
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


def printable(text):
    """A name from elsewhere as a line of text: it can't steer the terminal, nor fail to be shown where it is not UTF-8.

    Spaces of all kinds become the ordinary one; joiners, which scripts and emoji need, stay.
    """
    shown = (" " if unicodedata.category(c) == "Zs" else c if c.isprintable() or c in JOINERS else "?" for c in str(text))
    return "".join(shown)


def first_line(error):
    """Of what a library says: the rest is for its developers."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


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
    except OSError as error:  # what may not be read or written, has no room or no such name: the system's word for it
        sys.exit(_say(error, UserError.exit_code))
    except Exception as error:
        slip = _slip_in_config(error)
        if not slip:
            raise
        sys.exit(_say(slip, UserError.exit_code))


def _slip_in_config(error):
    """The line of config.py, which its user edits, and what Python says of it, where that is why it can't be imported."""
    if isinstance(error, SyntaxError):
        return f"config.py, line {error.lineno}: {error.msg}" if error.filename == CONFIG else None
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == CONFIG]
    return f"config.py, line {lines[-1]}: {error}" if lines else None


def _is_first():
    """Of processes that train one network together."""
    return os.environ.get("RANK", "0") == "0"


may_speak = _is_first  # whether this process prints its error; replicas.py knows better once processes have met


def _say(error, code):
    if may_speak():
        print(f"error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
    return code
