"""Run of a script: exit codes, and one line for an error that is a user's."""

import io
import os
import sys

from foundation.backend import check_backend
from foundation.errors import UserError, is_of_the_system, one_line


def run_script(main):
    """Run a script's `main` and exit: with 0, with 130 for Ctrl-C, or with an error's own code after printing its one line.

    A bug keeps its traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold what the terminal's encoding lacks
    try:
        check_backend()
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
        if not is_of_the_system(error):
            raise
        sys.exit(_say(error, UserError.exit_code))


def _is_first():
    """Return whether this is the first of the processes that train one network together."""
    return os.environ.get("RANK", "0") == "0"


_may_speak = _is_first


def speak_only_if(may_speak):
    """Print the error that ends this process only if `may_speak()`, asked once there is one."""
    global _may_speak
    _may_speak = may_speak


def _say(error, code):
    if _may_speak():
        print(f"error: {one_line(error)}", file=sys.stderr)
    return code
