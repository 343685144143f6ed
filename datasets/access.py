"""Permissions to download and to write while a data set is loaded: a run that is only looked at may come from anybody."""

import contextlib
from contextvars import ContextVar

from foundation.errors import UserError

_MAY_DOWNLOAD = ContextVar("may_download", default=True)
_MAY_WRITE = ContextVar("may_write", default=True)


@contextlib.contextmanager
def looking(writes=True):
    """Forbid downloads within the block; without `writes`, forbid writing too, even of decoded images."""
    tokens = (_MAY_DOWNLOAD, _MAY_DOWNLOAD.set(False)), (_MAY_WRITE, _MAY_WRITE.set(writes and _MAY_WRITE.get()))
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


def may_write() -> bool:
    return _MAY_WRITE.get()


def may_download() -> bool:
    return _MAY_DOWNLOAD.get()


def check_download(name, place):
    """Raise a UserError if downloads are forbidden. Call it for a data set that is not in `place`."""
    if not may_download():
        raise UserError(f"data set '{name}' is not in {place}, and a run that is looked at downloads nothing: {_FETCH}")


def check_write(what, place):
    """Raise a UserError if writing is forbidden. Call it for `what` that is not in `place`."""
    if not may_write():
        raise UserError(f"{what} are not in {place}, and looking writes nothing: `python evaluate.py RUN` puts them there")


_FETCH = "`python evaluate.py RUN --download` does"
