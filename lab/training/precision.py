"""The precision that `auto` stands for: bfloat16 where it is faster, else float32. A run keeps the one that it began with."""

from dataclasses import replace
from math import inf

from foundation import backend, devices, replicas

FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"
# On a CPU, smaller batches take longer in bfloat16: their casts cost more than it saves. Measured: docs/performance.md.
FEWEST_PIXELS_ON_CPU = 8_192
EMULATED = (
    "this device emulates bfloat16 by float32: where that was measured, a step took 2.8 to 3.5 times as long; "
    "--precision float32 is faster here"
)


def settle(config, image_shape, fewest_pixels, run=None):
    """Return the config with the precision that `auto` stands for, for images `(H, W, C)`.

    It is that of the run, if the run has begun, perhaps on another device; else bfloat16 for batches of at least
    `fewest_pixels` in a process, else float32.
    """
    if config.precision != "auto":
        return config
    if recorded := run and _recorded(run):
        return replace(config, precision=recorded)
    height, width, _ = image_shape
    pixels = config.batch_size // replicas.SHARES * height * width
    return replace(config, precision=BFLOAT16 if pixels >= fewest_pixels else FLOAT32)


def _recorded(run):
    """Return the precision that a run began with; None if it has not begun, or if its record is gone."""
    has_record = run.has_begun() and (run.output / "config.json").is_file()
    return run.read_settings().precision if has_record else None


def fewest_pixels():
    """Return the pixels that a batch needs for bfloat16 to be faster on the devices of all processes; infinite if it never is."""
    return max(replicas.gather(_fewest_pixels_here()))


def _fewest_pixels_here():
    if backend.name() == "torch":
        if not devices.computes_bfloat16():
            return inf
        return 0 if devices.uses_cuda() else FEWEST_PIXELS_ON_CPU
    return 0 if _other_backend_has_such_gpus() else inf


def _other_backend_has_such_gpus():
    """Return whether jax or TensorFlow computes on GPUs of compute capability 8 or more, the first with bfloat16."""
    if backend.name() == "jax":
        import jax

        capabilities = [getattr(device, "compute_capability", None) for device in jax.devices()]
        return all(capability and float(capability) >= 8 for capability in capabilities)
    import tensorflow

    gpus = tensorflow.config.list_physical_devices("GPU")
    found = [tensorflow.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
    return bool(found) and min(found) >= (8, 0)


def note_on_emulation(config):
    """Return a line if a config asks for bfloat16 by name on a device that torch emulates it on; else an empty one."""
    is_emulated = config.precision == BFLOAT16 and backend.name() == "torch" and not devices.computes_bfloat16()
    return EMULATED if is_emulated else ""
