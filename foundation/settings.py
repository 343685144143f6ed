"""Settings: each is declared once, here.

A declaration holds a setting's type, the value that Reslab is shipped with, the sentence that explains it, the allowed values and
what it belongs to. From it come the file config.py, the flags and their help, the checks, what a run records and compares, what
studies and benchmarks start from, and the tables in docs.

config.py holds the values that the user chose; only `train.py` reads it. Everything else uses the shipped values, also for
settings that an old run did not record. So an edit of config.py changes the next training and nothing else.
"""

from dataclasses import dataclass
from typing import Literal

from foundation.allowed import (
    at_least,
    below,
    between,
    folder,
    frozen_part,
    group_pattern,
    not_empty,
    one_name,
    or_none,
    val_share,
    writable,
    zero_or,
)
from foundation.declaring import declared, setting
from foundation.norm_table import NORM_TABLE


@dataclass(frozen=True)
class Config:
    """Settings of a run."""

    preset: Literal["none", "speedrun"] = setting(
        "none",
        "settings that belong together; they win over config.py, and a flag wins over them",
    )

    # Data
    dataset: str = setting(
        "digits",
        "digits | cifar10 | cifar100 | tiny_imagenet25 | tiny_imagenet200 | indian_birds | shapes | tfds:NAME | "
        "folder:PATH, which may end in a CSV file; or some of the classes: digits:0-4, shapes:10",
        not_empty,
        heading="Data",
    )
    data_dir: str = setting("data", "where data sets are downloaded to and decoded images are cached", folder, is_free=True)
    image_size: int = setting(0, "height and width in pixels; 0: the data set's own", zero_or(8, 1024))
    colour: Literal["rgb", "grey"] = setting("rgb", "rgb: three channels; grey: images and network have one")
    start_size: int = setting(
        0,
        "images of the first epoch have this height and width and grow from there (0: full size always)",
        zero_or(8, 1024),
    )
    growth_epochs: float = setting(
        0.0,
        "over so many epochs images grow from start_size to full size, by 4 pixels at a time",
        at_least(0),
    )
    class_seed: int = setting(201, "seed of the draw of tiny_imagenet25's classes", between(0, 2**31 - 1))
    val_fraction: float = setting(
        0.1,
        "share of train (stratified, seeded) that serves as val, or as test, where a set has none",
        val_share,
    )
    group_by: str = setting(
        "",
        "folder:PATH: pictures of one group, such as an object's or a patient's, stay in one split; a regular expression whose "
        "first group names it in the file's path, or a column of the CSV",
        group_pattern,
    )
    images_per_class: int = setting(0, "train on so few of each class; 0: on all; val and test stay whole", at_least(0))
    batch_size: int = setting(
        0,
        "images per step, the CIFAR-10 study takes 128; 0: 32, or fewer where an epoch would have less than 8 steps",
        zero_or(2, 65536),
    )
    augment: Literal["none", "standard", "randaugment", "cutout", "gridmask", "saturation"] = setting(
        "standard",
        "standard: shift, and mirror where classes survive it; the others add a policy of keras-cv",
    )
    max_shift: int = setting(4, "images are shifted by up to so many pixels; 2 serves short trainings", between(0, 1023))
    padding: Literal["zero", "reflect"] = setting("zero", "what stands beyond the border of a shifted image")
    mirror: Literal["random", "alternating"] = setting(
        "random",
        "random: half of an epoch's images are mirrored; alternating: each one is in every other epoch",
    )
    mixup_alpha: float = setting(
        0.0,
        "Beta(alpha, alpha) for mixup (Zhang et al. 2018); 0 turns it off, 0.2 to 0.4 is usual",
        at_least(0),
    )
    cutmix_alpha: float = setting(
        0.0,
        "Beta(alpha, alpha) for CutMix (Yun et al. 2019); 1 is usual; with mixup on, each batch draws one of the two",
        at_least(0),
    )

    # Model
    model: str = setting("xresnet20", "a network of the table that python dispatcher.py prints", not_empty, heading="Model")
    n: int = setting(0, "residual blocks in each stage, the n of 6n + 2; 0: the model's own", between(0, 1000), part="blocks")
    norm: Literal["default", *NORM_TABLE] = setting(  # pyright: ignore[reportInvalidTypeForm]  its values are a table's
        "default",
        "batch-scratch is batch's equation written out; evonorm-s0 brings its own activation; default: the model's own",
        part="norm",
    )
    norm_groups: int = setting(
        0,
        "norms group and evonorm-s0: channels are normalised in so many groups; 0: the model's own",
        at_least(0),
        part="norm_groups",
    )
    sync_norm: bool = setting(False, "processes that train together (torchrun) share the statistics of norms over a batch")
    activation: Literal["default", "relu", "mish", "silu", "gelu"] = setting(
        "default",
        "between convolutions; default: the model's own",
        part="activation",
    )
    stem: Literal["default", "conv", "conv-norm", "imagenet", "deep"] = setting(
        "default",
        "before the stages: a 3x3 convolution; with norm and activation; ImageNet's 7x7 or ResNet-D's three 3x3, each "
        "with pooling; default: the model's own",
        part="stem",
    )
    attention: Literal["default", "none", "se", "cbam"] = setting(
        "default",
        "at the end of every residual branch; default: the model's own",
        part="attention",
    )
    shortcut: Literal["default", "projection", "zero", "pool", "none"] = setting(
        "default",
        "where a block changes the shape: 1x1 convolution (B of the paper), zeros (A) or ResNet-D's pooling; none: no "
        "skip at all; default: the model's own",
        part="shortcut",
    )
    stochastic_depth: float | None = setting(
        None,
        "chance that an image skips the last block's branch, earlier ones less; 0.5 in the paper; None: the model's own",
        or_none(below(1)),
        part="stochastic_depth",
    )

    # Transfer
    init_from: str = setting(
        "",
        "start from the best weights of a run, from a .safetensors or .keras file of export.py or keras-hub:resnet_50_imagenet; "
        "new head where classes differ",
        writable,
        heading="Transfer",
    )
    freeze: str = setting(
        "none",
        "backbone (all but the classifier) or stages:1-2 (the stem goes with stage 1) stay as they are",
        frozen_part,
    )
    backbone_rate: float = setting(
        1.0,
        "the learning rate of all but the classifier, as a share of the classifier's",
        between(0, 1),
    )

    # Training
    epochs: int = setting(20, "passes over train; the CIFAR-10 study's networks take 180", between(1, 99_999), heading="Training")
    resume: Literal["auto", "never"] = setting(
        "auto",
        "auto: go on where the run of this name stopped; never: refuse an existing name",
        is_free=True,
    )
    start_epoch: int | None = setting(
        None,
        "go back to the end of this many finished epochs (its checkpoint must still be there)",
        or_none(at_least(0)),
        is_free=True,
    )
    seed: int = setting(
        0,
        "seed of the split, the initial weights, the order of images and every augmentation",
        between(0, 2**31 - 1),
    )
    optimizer: Literal["sgd", "adam", "adamw", "muon", "rmsprop", "lion"] = setting(
        "sgd",
        "sgd is what the papers use; muon makes its steps orthogonal and learns in fewer epochs; adamw, muon and lion decouple "
        "weight decay",
    )
    init_lr: float = setting(
        0.0,
        "the learning rate that the schedule starts from or peaks at; 0: chosen by optimizer, batch size and number of steps",
        at_least(0),
    )
    find_lr: bool = setting(
        False,
        "instead of training, let the rate rise for some steps, draw the loss and suggest an init_lr",
        is_free=True,
    )
    check: bool = setting(
        False,
        "instead of training, check data, network and rate in about a minute; exit code 1 if a check fails",
        is_free=True,
    )
    momentum: float = setting(0.9, "sgd, muon and rmsprop: the share of the last update that goes on", below(1))
    nesterov: bool = setting(False, "sgd and muon look ahead along their momentum")
    class_weights: Literal["none", "balanced"] = setting(
        "none",
        "balanced: an image counts N / (classes * images of its class); val and test count all alike",
    )
    monitor: Literal["val_accuracy", "val_loss", "val_f1_macro"] = setting("val_accuracy", "what the best epoch is best by")
    weight_decay: float = setting(
        2e-4,
        "L2 on kernels: adds weight_decay * kernel to the gradient, as in torch; Keras' L2(x) is 2x here",
        at_least(0),
    )
    schedule: Literal["resnet", "cosine", "linear", "onecycle", "plateau", "constant"] = setting(
        "cosine",
        "course of the rate; resnet: a tenth for an epoch, then 1, 1/10 from half, 1/100 from three quarters of the "
        "epochs (He et al. 2015)",
    )
    warmup_epochs: float = setting(
        1.0,
        "over so many epochs cosine and linear rise to init_lr from zero, onecycle (or over three tenths, if longer) from"
        " 1/25 of it; where a run has no more epochs than that, over a fifth of them",
        at_least(0),
    )
    gradient_clip: float = setting(0.0, "gradients whose global norm is above it are scaled down to it; 0: never", at_least(0))
    accumulate: int = setting(1, "the weights move after every so many batches, by the mean of their gradients", between(1, 1024))
    label_smoothing: float = setting(
        0.1,
        "share of the label spread over all classes (Szegedy et al. 2016); 0 turns it off",
        below(1),
    )
    ema_decay: float = setting(
        0.99,
        "val and test use a moving average of the weights with this decay per step (less at first); 0: off",
        below(1),
    )
    precision: Literal["auto", "float32", "mixed_bfloat16"] = setting(
        "auto",
        "auto: mixed_bfloat16 where that is faster, which needs a device that computes in bfloat16, else float32; a run keeps "
        "the one that it began with",
    )
    execution: Literal["auto", "eager", "compile", "graph"] = setting(
        "auto",
        "how a step runs on torch: operation by operation, with compiled blocks, or as one CUDA graph; auto: graph on a "
        "GPU, else eager",
    )
    deterministic: bool = setting(True, "two runs of one command end bit-identical; on a GPU this takes slower operations")
    early_stopping_patience: int = setting(0, "stop after so many epochs without a better monitor; 0: never", at_least(0))

    # Callbacks
    run: str = setting("", "the run's name; empty: <model>-<dataset>-<seed>", one_name, is_free=True, heading="Callbacks")
    output_dir: str = setting("output", "output_dir/<run>: settings, history, plot, metrics", folder, is_free=True)
    weights_dir: str = setting("weights", "weights_dir/<run>: checkpoints", folder, is_free=True)
    checkpoint_minutes: float = setting(
        10.0,
        "a checkpoint at least so often, besides one after every epoch; 0: only those",
        at_least(0),
        is_free=True,
    )
    max_minutes: float = setting(
        0.0,
        "stop after so long with everything written (exit code 124); the same command goes on; 0: no limit",
        at_least(0),
        is_free=True,
    )
    track_f1: bool = setting(False, "also record macro F1 of train (as augmented) and val after every epoch")
    track_gradients: bool = setting(
        False,
        "also record each kernel's gradient norm, norm and update ratio after every epoch, in flow.json: see python visualize.py",
    )
    film: bool = setting(
        False,
        "also record after an epoch what python visualize.py film shows, in at most 5 % of the time of training",
    )
    keep_checkpoints: int = setting(2, "the newest so many are kept, and the best on val", at_least(1), is_free=True)
    tensorboard: bool = setting(False, "also write event files for TensorBoard to output_dir/<run>/tensorboard", is_free=True)


SETTINGS = declared(Config)  # by name, in order
FREE = {name for name, each in SETTINGS.items() if each.is_free}


def by_heading():
    """Return {heading: [Setting, ...]}, in order; settings before the first heading have the heading ""."""
    found = {}
    for each in SETTINGS.values():
        found.setdefault(each.heading, []).append(each)
    return found
