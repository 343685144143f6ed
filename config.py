"""The settings of a run: edit the values here, then `python train.py`. Each is also a flag: `init_lr` is `--init-lr`.

Importing this file selects Keras' backend: PyTorch, unless the environment variable KERAS_BACKEND names jax or tensorflow.
"""

import os
import re
import tempfile
from dataclasses import dataclass, fields
from typing import Literal, get_args, get_origin, get_type_hints

from errors import UserError, unknown
from paths import is_nobodys

BACKENDS = ("torch", "jax", "tensorflow")

os.environ.setdefault("KERAS_BACKEND", "torch")
if os.environ["KERAS_BACKEND"] not in BACKENDS:
    raise unknown("KERAS_BACKEND", os.environ["KERAS_BACKEND"], BACKENDS)
# Keras writes a settings file where it finds none; the user's home is not ours to write to, nor its settings ours to obey.
os.environ.setdefault("KERAS_HOME", os.path.join(tempfile.gettempdir(), "reslab-keras"))
os.environ.setdefault("MPLCONFIGDIR", os.path.join(tempfile.gettempdir(), "reslab-matplotlib"))  # matplotlib does the same
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's greetings are not news


@dataclass(frozen=True)
class Config:
    """Train a residual network. A flag wins over the value in config.py."""

    preset: Literal["none", "speedrun"] = "none"  # settings that belong together, see PRESETS below; a flag wins over them

    # Data
    # digits | cifar10 | cifar100 | tiny_imagenet25 | tiny_imagenet200 | indian_birds | shapes | tfds:NAME | folder:PATH
    # (or some of the classes: digits:0-4, shapes:10)
    dataset: str = "digits"
    data_dir: str = "data"  # where data sets are downloaded to and decoded images are cached
    image_size: int = 0  # height and width in pixels; 0: the data set's own
    colour: Literal["rgb", "grey"] = "rgb"  # grey: images and network have one channel
    start_size: int = 0  # images of the first epoch have this height and width and grow from there (0: full size always)
    growth_epochs: float = 0.0  # over so many epochs images grow from start_size to full size, by 4 pixels at a time
    class_seed: int = 201  # of the draw of tiny_imagenet25's classes
    val_fraction: float = 0.1  # share of train (stratified, seeded) that serves as val, or as test, where a set has none
    images_per_class: int = 0  # train on so few of each class; 0: on all; val and test stay whole
    batch_size: int = 32  # images per step; the CIFAR-10 study takes 128
    # standard: shift, and mirror where classes survive it; the others add a policy of keras-cv
    augment: Literal["none", "standard", "randaugment", "cutout", "gridmask", "saturation"] = "standard"
    max_shift: int = 4  # images are shifted by up to so many pixels; 2 serves short trainings
    padding: Literal["zero", "reflect"] = "zero"  # what stands beyond the border of a shifted image
    # random: half of an epoch's images are mirrored; alternating: each one is in every other epoch
    mirror: Literal["random", "alternating"] = "random"
    mixup_alpha: float = 0.0  # Beta(alpha, alpha) for mixup (Zhang et al. 2018); 0 turns it off, 0.2 to 0.4 is usual
    cutmix_alpha: float = 0.0  # the same for CutMix (Yun et al. 2019); 1 is usual; with mixup on, each batch draws one

    # Model
    model: str = "xresnet20"  # python dispatcher.py lists all
    n: int = 0  # residual blocks in each stage, the n of 6n + 2; 0: the model's own
    # batch-scratch is batch's equation written out; default, here and below: the model's own
    norm: Literal["default", "batch", "batch-scratch", "instance", "batch-instance", "layer", "group", "none"] = "default"
    norm_groups: int = 0  # of norm group: channels are normalised in so many groups; 0: the model's own
    sync_norm: bool = False  # processes that train together (torchrun) share the statistics of norms over a batch
    activation: Literal["default", "relu", "mish", "silu", "gelu"] = "default"
    # before the stages: a 3x3 convolution; with norm and activation; ImageNet's 7x7 or ResNet-D's three 3x3, each with pooling
    stem: Literal["default", "conv", "conv-norm", "imagenet", "deep"] = "default"
    attention: Literal["default", "none", "se", "cbam"] = "default"  # at the end of every residual branch
    # where a block changes the shape: 1x1 convolution (B of the paper), zeros (A) or ResNet-D's pooling; none: no skip at all
    shortcut: Literal["default", "projection", "zero", "pool", "none"] = "default"
    # chance that an image skips the last block's branch, earlier ones less; 0.5 in the paper; None: the model's own
    stochastic_depth: float | None = None

    # Transfer
    # start from the best weights of a run, from a .safetensors file or keras-hub:resnet_50_imagenet; new head where classes differ
    init_from: str = ""
    freeze: str = "none"  # backbone (all but the classifier) or stages:1-2 (the stem goes with stage 1) stay as they are
    backbone_rate: float = 1.0  # the learning rate of all but the classifier, as a share of the classifier's

    # Training
    epochs: int = 20  # passes over train; the CIFAR-10 study's networks take 180
    resume: Literal["auto", "never"] = "auto"  # auto: go on where the run of this name stopped; never: refuse an existing name
    start_epoch: int | None = None  # go back to the end of this many finished epochs (its checkpoint must still be there)
    seed: int = 0  # of the split, the initial weights, the order of images and every augmentation
    # sgd is what the papers use; muon makes its steps orthogonal and learns in fewer epochs; adamw and muon decouple weight decay
    optimizer: Literal["sgd", "adam", "adamw", "muon", "rmsprop"] = "sgd"
    # the learning rate that the schedule starts from or peaks at; 0: chosen by optimizer, batch size and number of steps
    init_lr: float = 0.0
    find_lr: bool = False  # instead of training, let the rate rise for some steps, draw the loss and suggest an init_lr
    momentum: float = 0.9  # of sgd, muon and rmsprop: the share of the last update that goes on
    nesterov: bool = False  # sgd looks ahead along its momentum
    # balanced: an image counts N / (classes * images of its class); val and test count all alike
    class_weights: Literal["none", "balanced"] = "none"
    monitor: Literal["val_accuracy", "val_loss", "val_f1_macro"] = "val_accuracy"  # what the best epoch is best by
    weight_decay: float = 2e-4  # L2 on kernels: adds weight_decay * kernel to the gradient, as in torch; Keras' L2(x) is 2x here
    # resnet: a tenth for an epoch, then 1, 1/10 from half, 1/100 from three quarters of the epochs (He et al. 2015)
    schedule: Literal["resnet", "cosine", "linear", "onecycle", "plateau", "constant"] = "cosine"
    # over so many epochs cosine and linear rise to init_lr from zero, onecycle (or over three tenths, if longer) from 1/25 of it
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.1  # share of the label spread over all classes (Szegedy et al. 2016); 0 turns it off
    ema_decay: float = 0.99  # val and test use a moving average of the weights with this decay per step (less at first); 0: off
    precision: Literal["float32", "mixed_bfloat16"] = "float32"  # mixed_bfloat16: faster where the processor knows bfloat16
    # how a step runs on torch: operation by operation, with compiled blocks, or as one CUDA graph; auto: graph on a GPU, else eager
    execution: Literal["auto", "eager", "compile", "graph"] = "auto"
    deterministic: bool = True  # two runs of one command end bit-identical; on a GPU this takes slower operations
    early_stopping_patience: int = 0  # stop after so many epochs without a better monitor; 0: never

    # Callbacks
    run: str = ""  # the run's name; empty: <model>-<dataset>-<seed>
    output_dir: str = "output"  # output_dir/<run>: settings, history, plot, metrics
    weights_dir: str = "weights"  # weights_dir/<run>: checkpoints
    checkpoint_minutes: float = 10.0  # a checkpoint at least so often, besides one after every epoch; 0: only those
    max_minutes: float = 0.0  # stop after so long with everything written (exit code 124); the same command goes on; 0: no limit
    track_f1: bool = False  # also record macro F1 of train (as augmented) and val after every epoch
    # also record each kernel's gradient norm, norm and update ratio after every epoch, in flow.json: see python visualize.py
    track_gradients: bool = False
    keep_checkpoints: int = 2  # the newest so many are kept, and the best on val
    tensorboard: bool = False  # also write event files for TensorBoard to output_dir/<run>/tensorboard


# Settings under one name. They win over the values above, flags win over them.
PRESETS = {
    "none": {},
    # For images like CIFAR-10's: small ones first, then four epochs at full size; see "Speed" in the README.
    "speedrun": {
        "val_fraction": 0.02,
        "batch_size": 128,
        "start_size": 16,
        "growth_epochs": 8.0,
        "max_shift": 2,
        "padding": "reflect",
        "mirror": "alternating",
        "model": "xresnet20",
        "epochs": 12,
        "optimizer": "muon",
        "init_lr": 0.2,
        "nesterov": True,
        "weight_decay": 0.004,
        "schedule": "linear",
        "warmup_epochs": 1.5,
        "precision": "mixed_bfloat16",
    },
}


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
    return None if value and "\0" not in value else "not empty"


def _folder(value):
    return "a path; this machine has no such user" if is_nobodys(value) else _not_empty(value)


# What each setting must satisfy beyond its type. A setting that is missing here is one that nobody reads.
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
    "init_from": _anything,
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
    """Raises a UserError that names every fault of a config at once."""
    names = [field.name for field in fields(config)]
    for name in names:
        if name not in CHECKS:
            raise unknown("setting", name, [known for known in CHECKS if known not in names] or CHECKS)
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
    """What is wrong with one value of a setting, or None."""
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
    if config.schedule in ("cosine", "linear", "onecycle") and config.warmup_epochs >= config.epochs:
        faults.append(f"warmup_epochs ({config.warmup_epochs}) must be fewer than epochs ({config.epochs}); 0 is none")
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
    if config.start_epoch is not None and config.resume == "never":
        faults.append("start_epoch goes back within an existing run, which resume 'never' refuses")
    return faults
