"""Settings of transfer, checked before Keras is imported: what `init_from` names, and the stages that `freeze` names."""

import re

import dispatcher
from foundation.errors import UserError
from foundation.paths import typed_path
from lab.runs.naming import is_new_name
from lab.runs.run import Run

PRESET = "keras-hub:"  # the beginning of `init_from` if it names a preset of keras-hub
KERAS_FILE = ".keras"  # its end if it names a file of Keras' own layers


def check_transfer(config):
    """Raise a UserError if a config names layers to freeze that its model lacks, or a source of weights that is not there.

    A run that has begun took its weights already; it goes on if its source has been deleted.
    """
    if config.freeze != "none":
        blocks = dispatcher.architecture_of(config.model, **dispatcher.architecture_options(config)).residual_blocks()
        frozen_stages(config.freeze, sorted({stage for stage, *_ in blocks}))
    if config.init_from and is_new_name(config):
        _check_source(config)


def _check_source(config):
    if source_run(config) is None and not config.init_from.startswith(PRESET):
        path = typed_path(config.init_from)
        try:
            path.stat()
        except OSError as error:
            raise unreadable(path, error) from error


def source_run(config) -> Run | None:
    """Return the run that `config.init_from` names, or None if it names a file or a preset. Raises UserError if it is missing."""
    if config.init_from.startswith(PRESET) or config.init_from.endswith((".safetensors", KERAS_FILE)):
        return None
    return Run.find(config.init_from, config.output_dir)


def unreadable(path, error) -> UserError:
    return UserError(f"init_from {path} can't be read: {error}")


def frozen_stages(part, stages):
    """Return the first and the last frozen stage of "backbone" or "stages:A-B". Raises UserError if `stages` has no such ones."""
    if part == "backbone":
        return stages[0], stages[-1]
    found = re.fullmatch(r"stages:(\d+)(?:-(\d+))?", part)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not stages[0] <= first <= last <= stages[-1]:
        raise UserError(f"freeze is '{part}', allowed: none, backbone or stages:A-B within {stages[0]} to {stages[-1]}")
    return first, last
