"""The precision that `auto` stands for: bfloat16 where it is faster, else float32. A run keeps the one that it began with."""

from dataclasses import replace

import keras

from foundation import replicas
from lab.training.backends import bfloat16_slowdown, check_bfloat16, emulates_bfloat16, fewest_bfloat16_pixels
from lab.training.chosen import with_batch_size

FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"
# On a CPU, smaller batches take longer in bfloat16: their casts cost more than it saves. Measured: docs/performance.md.
FEWEST_PIXELS_ON_CPU = 8_192


def settle(config, shape, fewest_pixels, run=None):
    """Return the config with the precision that `auto` stands for, for train images of `shape` (N, H, W, C).

    It is that of the run, if the run has begun, perhaps on another device; else bfloat16 for batches of at least
    `fewest_pixels` in a process, else float32. A run of an earlier version, which recorded 32 where no batch size was given,
    keeps that size.
    """
    recorded = run and _recorded(run)
    if recorded and not config.batch_size:
        config = replace(config, batch_size=recorded.batch_size)
    if config.precision != "auto":
        return config
    if recorded:
        return replace(config, precision=recorded.precision)
    images, height, width, _ = shape
    pixels = with_batch_size(config, images).batch_size // replicas.NUM_SHARDS * height * width
    return replace(config, precision=BFLOAT16 if pixels >= fewest_pixels else FLOAT32)


def _recorded(run):
    """Return the settings that a run began with; None if it has not begun, or if its record is gone."""
    has_record = run.has_begun() and (run.output / "config.json").is_file()
    return run.read_settings() if has_record else None


def fewest_pixels():
    """Return the pixels that a batch needs for bfloat16 to be faster on the devices of all processes; infinite if it never is."""
    return max(replicas.gather(fewest_bfloat16_pixels(FEWEST_PIXELS_ON_CPU)))


def use_precision(precision):
    """Let Keras build networks of a precision that is settled. Raises UserError if the device can't compute in it."""
    if precision == BFLOAT16:
        check_bfloat16()
    keras.config.set_dtype_policy(precision)


def note_on_emulation(config) -> str:
    """Return a line if a config asks for bfloat16 by name on a device that torch emulates it on; else an empty one."""
    if config.precision != BFLOAT16 or not emulates_bfloat16():
        return ""
    return (
        f"this device emulates bfloat16 by float32: a convolution's step took {bfloat16_slowdown():.1f} times as long; "
        "--precision float32 is faster here"
    )
