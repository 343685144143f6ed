"""Import of TensorFlow without what it tells of itself on standard error, which no setting of its own turns off."""

import contextlib
import os
import re
import sys
import tempfile
from importlib.machinery import PathFinder

TOLD = re.compile(
    rb"(WARNING: All log messages before absl::InitializeLog|I\d{4} ).*\n?"
)  # lines; those of faults begin otherwise


class QuietFinder(PathFinder):
    """Finds the package `tensorflow` as Python does, and has it imported within `hushed`."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "tensorflow":
            return None
        spec = super().find_spec(name, path, target)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def execute_hushed(module):
                with hushed():
                    execute(module)

            spec.loader.exec_module = execute_hushed
        return spec


@contextlib.contextmanager
def hushed():
    """Keep lines like TOLD, also those of C++, from standard error; all others are written when the block ends."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file:
                if not TOLD.match(line):
                    os.write(2, line)


def import_tensorflow_quietly():
    """From now on; importing it is left to those who need it."""
    if QuietFinder not in sys.meta_path:
        sys.meta_path.insert(0, QuietFinder)
