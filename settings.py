"""Settings: the type, the shipped value and the allowed values of each.

config.py holds the values that the user chose; only `train.py` reads it. Everything else uses the shipped values, also for
settings that an old run did not record. So an edit of config.py changes the next training and nothing else.

Importing this file selects Keras' backend: PyTorch, unless the environment variable KERAS_BACKEND names jax or tensorflow.
"""

import os
import re
from dataclasses import dataclass, fields
from typing import Literal, get_args, get_origin, get_type_hints

from aliases import unknown_setting
from errors import UserError, unknown
from files import keep_libraries_private
from paths import is_nobodys
from quiet_import import import_tensorflow_quietly

BACKENDS = ("torch", "jax", "tensorflow")

os.environ.setdefault("KERAS_BACKEND", "torch")
if os.environ["KERAS_BACKEND"] not in BACKENDS:
    raise unknown("KERAS_BACKEND", os.environ["KERAS_BACKEND"], BACKENDS)
keep_libraries_private()
# Waiting threads sleep. By default they spin, and beside other work on the cores they would slow one another.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch is imported
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no start-up messages of TensorFlow
import_tensorflow_quietly()


@dataclass(frozen=True)
class Config:
    """Settings of a run. The values here are those that Reslab is shipped with; config.py explains each."""

    preset: Literal["none", "speedrun"] = "none"

    # Data
    dataset: str = "digits"
    data_dir: str = "data"
    image_size: int = 0
    colour: Literal["rgb", "grey"] = "rgb"
    start_size: int = 0
    growth_epochs: float = 0.0
    class_seed: int = 201
    val_fraction: float = 0.1
    images_per_class: int = 0
    batch_size: int = 32
    augment: Literal["none", "standard", "randaugment", "cutout", "gridmask", "saturation"] = "standard"
    max_shift: int = 4
    padding: Literal["zero", "reflect"] = "zero"
    mirror: Literal["random", "alternating"] = "random"
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    # Model
    model: str = "xresnet20"
    n: int = 0
    norm: Literal["default", "batch", "batch-scratch", "instance", "batch-instance", "layer", "group", "none"] = "default"
    norm_groups: int = 0
    sync_norm: bool = False
    activation: Literal["default", "relu", "mish", "silu", "gelu"] = "default"
    stem: Literal["default", "conv", "conv-norm", "imagenet", "deep"] = "default"
    attention: Literal["default", "none", "se", "cbam"] = "default"
    shortcut: Literal["default", "projection", "zero", "pool", "none"] = "default"
    stochastic_depth: float | None = None

    # Transfer
    init_from: str = ""
    freeze: str = "none"
    backbone_rate: float = 1.0

    # Training
    epochs: int = 20
    resume: Literal["auto", "never"] = "auto"
    start_epoch: int | None = None
    seed: int = 0
    optimizer: Literal["sgd", "adam", "adamw", "muon", "rmsprop"] = "sgd"
    init_lr: float = 0.0
    find_lr: bool = False
    momentum: float = 0.9
    nesterov: bool = False
    class_weights: Literal["none", "balanced"] = "none"
    monitor: Literal["val_accuracy", "val_loss", "val_f1_macro"] = "val_accuracy"
    weight_decay: float = 2e-4
    schedule: Literal["resnet", "cosine", "linear", "onecycle", "plateau", "constant"] = "cosine"
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.1
    ema_decay: float = 0.99
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    execution: Literal["auto", "eager", "compile", "graph"] = "auto"
    deterministic: bool = True
    early_stopping_patience: int = 0

    # Callbacks
    run: str = ""
    output_dir: str = "output"
    weights_dir: str = "weights"
    checkpoint_minutes: float = 10.0
    max_minutes: float = 0.0
    track_f1: bool = False
    track_gradients: bool = False
    keep_checkpoints: int = 2
    tensorboard: bool = False


def _between(low, high):
    return lambda value: None if low <= value <= high else f"from {low} to {high}"


def _below(high):
    return lambda value: None if 0 <= value < high else f"from 0 to below {high}"


def _at_least(low):
    return lambda value: None if low <= value < float("inf") else f"at least {low}"


def _one_name(value):
    is_fine = value == "" or (value not in (".", "..") and all(c.isalnum() or c in "._-" for c in value))
    return None if is_fine and len(value.encode()) <= 100 else "letters, digits, '.', '_' and '-' only, at most 100 of them"


def _anything(value):
    return None


def _not_empty(value):
    return _writable(value) if value else "not empty"


def _writable(value):
    """Return why a text can't be a name in this system, or None.

    Some code points of Unicode are no characters, and paths have no zero byte.
    """
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return "characters only"
    return "characters only" if "\0" in value else None


def _folder(value):
    return _not_empty(value) or ("a path; this machine has no such user" if is_nobodys(value) else None)


# Conditions beyond the type of each setting. A setting that is missing here is unknown.
CHECKS = {
    "preset": _anything,
    "dataset": _not_empty,
    "data_dir": _folder,
    "image_size": lambda size: None if size == 0 or 8 <= size <= 1024 else "0 or from 8 to 1024",
    "colour": _anything,
    "start_size": lambda size: None if size == 0 or 8 <= size <= 1024 else "0 or from 8 to 1024",
    "growth_epochs": _at_least(0),
    "class_seed": _between(0, 2**31 - 1),
    "val_fraction": lambda share: None if 0 < share <= 0.5 else "more than 0, up to 0.5",
    "images_per_class": _at_least(0),
    "batch_size": _between(2, 65536),
    "augment": _anything,
    "max_shift": _between(0, 1023),
    "padding": _anything,
    "mirror": _anything,
    "mixup_alpha": _at_least(0),
    "cutmix_alpha": _at_least(0),
    "model": _not_empty,
    "n": _between(0, 1000),
    "norm": _anything,
    "norm_groups": _at_least(0),
    "sync_norm": _anything,
    "activation": _anything,
    "stem": _anything,
    "attention": _anything,
    "shortcut": _anything,
    "stochastic_depth": lambda chance: None if chance is None else _below(1)(chance),
    "init_from": _writable,
    "freeze": lambda part: None if re.fullmatch(r"none|backbone|stages:\d+(-\d+)?", part) else "none, backbone or stages:1-2",
    "backbone_rate": _between(0, 1),
    "epochs": _between(1, 99_999),
    "resume": _anything,
    "start_epoch": lambda epoch: None if epoch is None or epoch >= 0 else "at least 0",
    "seed": _between(0, 2**31 - 1),
    "optimizer": _anything,
    "init_lr": _at_least(0),
    "find_lr": _anything,
    "momentum": _below(1),
    "nesterov": _anything,
    "class_weights": _anything,
    "monitor": _anything,
    "weight_decay": _at_least(0),
    "schedule": _anything,
    "warmup_epochs": _at_least(0),
    "label_smoothing": _below(1),
    "ema_decay": _below(1),
    "precision": _anything,
    "execution": _anything,
    "deterministic": _anything,
    "early_stopping_patience": _at_least(0),
    "run": _one_name,
    "output_dir": _folder,
    "weights_dir": _folder,
    "checkpoint_minutes": _at_least(0),
    "max_minutes": _at_least(0),
    "track_f1": _anything,
    "track_gradients": _anything,
    "keep_checkpoints": _at_least(1),
    "tensorboard": _anything,
}


def check(config):
    """Raise a UserError that names all faults of a config at once."""
    names = [field.name for field in fields(config)]
    for name in names:
        if name not in CHECKS:
            raise unknown_setting(name, [known for known in CHECKS if known not in names] or CHECKS)
    faults = [f"setting '{name}' is missing in config.py" for name in CHECKS if name not in names]
    types = get_type_hints(type(config))
    for name in names:
        fault = fault_of(name, getattr(config, name), types[name])
        faults += [fault] if fault else []
    if not faults:
        faults = _combinations(config)
    if faults:
        raise UserError("; ".join(faults))


def fault_of(name, value, kind):
    """Return what is wrong with a value of a setting, or None."""
    if get_origin(kind) is Literal:
        return None if value in get_args(kind) else f"{name}: {unknown('value', value, get_args(kind))}"
    allowed = get_args(kind) or (kind,)
    if float in allowed:
        allowed += (int,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        wanted = " or ".join("nothing" if t is type(None) else t.__name__ for t in get_args(kind) or (kind,))
        return f"{name} is {value!r}, allowed: {wanted}"
    demand = CHECKS[name](value)
    return f"{name} is {value!r}, allowed: {demand}" if demand else None


def _combinations(config):
    faults = []
    if config.nesterov and (config.optimizer not in ("sgd", "muon") or config.momentum == 0):
        faults.append("nesterov needs optimizer 'sgd' or 'muon' and a momentum above 0")
    if config.colour == "grey" and config.augment not in ("none", "standard"):
        faults.append(f"augment '{config.augment}' is for images in colour, allowed with colour 'grey': none, standard")
    if config.monitor == "val_f1_macro" and not config.track_f1:
        faults.append("monitor 'val_f1_macro' needs track_f1")
    if config.start_epoch is not None and config.start_epoch >= config.epochs:
        faults.append(f"start_epoch ({config.start_epoch}) must be below epochs ({config.epochs})")
    if config.growth_epochs > config.epochs:
        faults.append(f"growth_epochs ({config.growth_epochs}) must be at most epochs ({config.epochs})")
    if bool(config.growth_epochs) != bool(config.start_size):
        faults.append("start_size and growth_epochs go together: images grow from that size over so many epochs")
    if config.execution != "auto" and os.environ["KERAS_BACKEND"] != "torch":
        faults.append(f"execution '{config.execution}' is for torch: {os.environ['KERAS_BACKEND']} compiles every step by itself")
    if config.execution == "compile" and config.sync_norm:
        faults.append("execution 'compile' does not go together with sync_norm, allowed: auto, eager")
    if config.start_epoch is not None and config.resume == "never":
        faults.append("start_epoch goes back within an existing run, which resume 'never' refuses")
    return faults
