"""Files: read only where they are what a run's file should be, written whole or not at all."""

import atexit
import contextlib
import errno
import json
import math
import os
import re
import secrets
import shutil
import stat
import tempfile
from pathlib import Path

from foundation.errors import UserError

try:
    import fcntl
except ImportError:  # Windows, where leftovers of a killed process stay
    fcntl = None

LARGEST = 32 << 20  # bytes of a text file that are read
DEEPEST = 32  # lists and dicts within one another
# Files and folders that are not finished; earlier versions had a word for each kind.
WRITING = re.compile(r"\.(?:writing|decoding|unpacking)-[0-9a-z_]+")


def read_regular(path, largest=LARGEST) -> bytes:
    """Return the bytes of a regular file: no pipe or device, which may never end, and none of more than `largest` bytes.

    Raises OSError.
    """
    with open_regular(path, largest) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def open_regular(path, largest=LARGEST):
    """Open a regular file of at most `largest` bytes to read. Raises OSError."""
    check_regular(path, largest)  # before it is opened: devices act on that
    file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")  # noqa: SIM115  it is the caller's
    try:
        _check_regular(os.fstat(file.fileno()), path, largest)
    except OSError:
        file.close()
        raise
    return file


def check_regular(path, largest=LARGEST):
    """Raise OSError where it is no regular file of at most `largest` bytes."""
    _check_regular(os.stat(path), path, largest)


def _check_regular(status, path, largest):
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    if status.st_size > largest:
        raise OSError(errno.EFBIG, f"has more than {largest:,} bytes", str(path))


def read_text(path, largest=LARGEST) -> str:
    """Return the text of a regular file; bytes that are not UTF-8 become U+FFFD. Raises OSError."""
    return read_regular(path, largest).decode(errors="replace")


def read_json(path, largest=LARGEST):
    """Return what a JSON file holds. Raises UserError with one line where it can't be read or holds what no run writes."""
    try:
        return parse_json(read_regular(path, largest))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error


def parse_json(data):
    """Return the value of JSON text or bytes: finite numbers, whole ones of at most 64 bits, at most DEEPEST levels.

    Raises ValueError.
    """
    try:
        value = json.loads(data, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError("lists or dicts are nested too deeply") from None
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not level:
            return value
    raise ValueError("lists or dicts are nested too deeply")


def _inside(value):
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _refuse(name):
    raise ValueError(f"{name} is no finite number")


def _finite(text):
    value = float(text)
    return value if math.isfinite(value) else _refuse(text[:20])


def _whole(text):
    if len(text) > 20 or abs(int(text)) >= 1 << 63:
        raise ValueError(f"{text[:20]}... is no number of 64 bits")
    return int(text)


def write_whole(folder, name, data):
    """Write bytes to a file of a folder by a temporary one and one rename, so that nobody sees half of it.

    Removes temporary files that killed processes left. The file's permissions follow the umask.
    """
    remove_leftovers(folder)
    temporary, handle = _claim(folder, _new_file)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            if fcntl:  # while it is held: nobody takes it for a leftover
                os.replace(temporary, Path(folder) / name)
        if not fcntl:
            os.replace(temporary, Path(folder) / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_file(path, data):
    """Write bytes to a path that the user named, whole or not at all; make its folder. Raises UserError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path.parent, path.name, data)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error}") from error


def as_json(data) -> bytes:
    """Return data as the bytes of a JSON file that people read too."""
    return (json.dumps(data, indent=1) + "\n").encode()


def open_to_append(path):
    """Open a file to write at its end; a link to another file is refused. Raises OSError."""
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666))


def unlinked(folder, name):
    """Return the path of a name below a folder that a stranger may have sent. Raises UserError if a link stands on the way.

    By a link the stranger would choose which folder of this machine is written to.
    """
    for part in Path(name).parts:
        folder /= part
        if folder.is_symlink():
            raise UserError(f"{folder} is a link to another folder: nothing is written through it (remove it first)")
    return folder


@contextlib.contextmanager
def temporary_folder(parent):
    """Yield a folder below `parent` that is gone when the block ends, unless it was renamed. Permissions follow the umask.

    Removes those that killed processes left.
    """
    remove_leftovers(parent)
    work, handle = _claim(parent, _new_folder)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def remove_leftovers(folder):
    """Remove temporary files and folders of `folder` that no process holds: a process that was killed can't."""
    with contextlib.suppress(OSError):
        for entry in [entry for entry in os.scandir(folder) if WRITING.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                _remove_unheld(entry)


def _remove_unheld(entry):
    if not fcntl:
        return None  # nothing says whether a process holds it
    is_folder = entry.is_dir(follow_symlinks=False)
    if not is_folder and not entry.is_file(follow_symlinks=False):
        return os.unlink(entry.path)  # a link or a pipe, which is nobody's work
    handle = os.open(entry.path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises OSError where a process holds it
        shutil.rmtree(entry.path, ignore_errors=True) if is_folder else os.unlink(entry.path)
    finally:
        os.close(handle)


def _new_file(path):
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)


def _new_folder(path):
    os.mkdir(path)
    return os.open(path, os.O_RDONLY) if fcntl else None


def _claim(folder, make):
    """Return (path, handle) of a new temporary file or folder that this process holds as long as the handle is open."""
    while True:
        path = Path(folder) / f".writing-{secrets.token_hex(8)}"
        handle = make(path)
        if not fcntl:
            return path, handle
        with contextlib.suppress(OSError):  # a file system without locks has no leftovers removed either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if path.exists():
            return path, handle
        os.close(handle)  # between the two lines above another process took it for a leftover


# Keras and matplotlib obey a settings file and write one where there is none, torch keeps what it compiled: the user's home is
# not ours to write to, nor its settings ours to obey, and still less what another user left.
LIBRARIES = {"KERAS_HOME": "keras", "MPLCONFIGDIR": "matplotlib", "TORCHINDUCTOR_CACHE_DIR": "inductor"}


def keep_libraries_private():
    """Tell libraries, by environment variables that the user left unset, to keep their files in a folder of this user's alone.

    Torch looks up what it compiled by the graph alone. It would find code for a vector unit that ATEN_CPU_CAPABILITY forbids, and
    fail to compile that. So each capability has a folder of its own.
    """
    if LIBRARIES.keys() - os.environ.keys():
        folder = private_folder()
        for name, below in LIBRARIES.items():
            if name == "TORCHINDUCTOR_CACHE_DIR" and (capability := os.environ.get("ATEN_CPU_CAPABILITY")):
                below = f"{below}-{os.path.basename(capability)}"
            os.environ.setdefault(name, os.path.join(folder, below))


def private_folder() -> str:
    """Return a folder that is this user's alone, for what libraries keep from one process to the next.

    Others may have made the usual one, in a place where everybody writes: it serves only if its owner and permissions say that
    nobody else ever wrote to it; otherwise this process gets one of its own.
    """
    user = getattr(os, "geteuid", int)()
    path = os.path.join(tempfile.gettempdir(), f"reslab-{user}")
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode) and status.st_uid == user and not stat.S_IMODE(status.st_mode) & 0o077:
            return path
    path = tempfile.mkdtemp(prefix="reslab-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
