"""What loading a data set may do besides reading: a run that is only looked at may come from anybody."""

import contextlib
from contextvars import ContextVar

from errors import UserError

_MAY_DOWNLOAD = ContextVar("may_download", default=True)
_MAY_WRITE = ContextVar("may_write", default=True)


@contextlib.contextmanager
def looking(writes=True):
    """Within the block nothing is downloaded; without `writes`, nothing is written either, not even decoded images."""
    tokens = (_MAY_DOWNLOAD, _MAY_DOWNLOAD.set(False)), (_MAY_WRITE, _MAY_WRITE.set(writes and _MAY_WRITE.get()))
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


def may_write():
    return _MAY_WRITE.get()


def may_download():
    return _MAY_DOWNLOAD.get()


def check_download(name, place):
    """Raises a UserError where the data set of this name, which is not in `place`, may not be downloaded."""
    if not may_download():
        raise UserError(f"data set '{name}' is not in {place}, and a run that is looked at downloads nothing: {_FETCH}")


def check_write(what, place):
    """Raises a UserError where `what`, which is not in `place`, may not be made there."""
    if not may_write():
        raise UserError(f"{what} are not in {place}, and looking writes nothing: `python evaluate.py RUN` puts them there")


_FETCH = "`python evaluate.py RUN --download` does"
