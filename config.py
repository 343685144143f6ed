"""The settings of a run: edit the values here, then `python train.py`. Each is also a flag: `init_lr` is `--init-lr`.

Nothing but `train.py` reads this file: studies, benchmarks, demos and finished runs keep to their own settings.
"""

from dataclasses import dataclass
from typing import Literal

import settings  # noqa: F401  selects the backend, before Keras is imported


@dataclass(frozen=True)
class Config:
    """Train a residual network. A flag wins over the value in config.py."""

    preset: Literal["none", "speedrun"] = "none"  # settings that belong together: PRESETS at the end; a flag wins over them

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
    activation: Literal["default", "relu", "mish", "silu", "gelu"] = "default"  # between convolutions
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
    # over so many epochs cosine and linear rise to init_lr from zero, onecycle (or over three tenths, if longer) from 1/25 of it;
    # where a run has no more epochs than that, over a fifth of them
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
    # For images like CIFAR-10's: small ones first, then four epochs at full size; see docs/performance.md.
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
