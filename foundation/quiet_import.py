"""Import of TensorFlow where it is needed alone, and without what it tells of itself on standard error.

No setting of its own turns that off. Keras imports it besides, 0.4 GB and some seconds, whenever a layer gives its config, to
learn whether a value is of one of TensorFlow's types; on another backend none is.
"""

import contextlib
import inspect
import os
import re
import sys
import tempfile
from importlib.machinery import PathFinder

TOLD = re.compile(
    rb"(WARNING: All log messages before absl::InitializeLog|I\d{4} ).*\n?"
)  # lines; those of faults begin otherwise


class QuietFinder:
    """Finds the package `tensorflow` as Python does, and has it imported within `hushed`.

    To Keras it says that there is none, unless Keras computes with it.
    """

    def __init__(self, for_keras):
        self.for_keras = for_keras

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        if not self.for_keras and _importer() == "keras":
            raise ModuleNotFoundError("TensorFlow is not imported for Keras on another backend")
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def execute_hushed(module):
                with hushed():
                    execute(module)

            spec.loader.exec_module = execute_hushed
        return spec


def _importer():
    """Return the package whose module imports what a finder is asked for."""
    for caller in inspect.stack(0)[2:]:
        package = caller.frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in ("importlib", "_frozen_importlib"):
            return package
    return ""


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


def import_tensorflow_quietly(for_keras):
    """Have TensorFlow imported quietly from now on, by those who need it; by Keras only if `for_keras`."""
    if not any(isinstance(finder, QuietFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, QuietFinder(for_keras))
