"""Names that other programs use for our settings. The error for such a name suggests ours."""

from foundation.errors import UserError, unknown

# timm's train.py, PyTorch's and fastai's examples, Keras' arguments, and the configuration file of the CIFAR-10 study.
ALIASES = {
    "aa": "augment",
    "amp": "precision",
    "arch": "model",
    "backbone": "model",
    "batch": "batch_size",
    "bs": "batch_size",
    "checkpoint_hist": "keep_checkpoints",
    "cutmix": "cutmix_alpha",
    "data": "dataset",
    "data_path": "dataset",
    "decay": "weight_decay",
    "drop_path": "stochastic_depth",
    "ema": "ema_decay",
    "epoch": "epochs",
    "experiment": "run",
    "img_size": "image_size",
    "initial_checkpoint": "init_from",
    "input_size": "image_size",
    "learning_rate": "init_lr",
    "lr": "init_lr",
    "lr_scheduler": "schedule",
    "mixup": "mixup_alpha",
    "model_ema_decay": "ema_decay",
    "model_name": "model",
    "name": "run",
    "network": "model",
    "num_epochs": "epochs",
    "opt": "optimizer",
    "out_dir": "output_dir",
    "output": "output_dir",
    "patience": "early_stopping_patience",
    "pretrained": "init_from",
    "resolution": "image_size",
    "sched": "schedule",
    "scheduler": "schedule",
    "size": "image_size",
    "smoothing": "label_smoothing",
    "sync_bn": "sync_norm",
    "use_cosine": "schedule",
    "use_lbl_smooth": "label_smoothing",
    "use_mixup": "mixup_alpha",
    "use_reflection_pad": "padding",
    "val_split": "val_fraction",
    "validation_split": "val_fraction",
    "warmup": "warmup_epochs",
    "wd": "weight_decay",
}


def unknown_setting(name, allowed, kind="setting", hint="") -> UserError:
    """Return the UserError for an unknown setting or flag. If another program uses this name, the error suggests our setting."""
    plain = name.strip("-").replace("-", "_").lower()
    ours = ALIASES.get(plain, plain if plain != name else None)
    shown = f"--{(ours or '').replace('_', '-')}" if kind == "flag" else ours
    if shown in allowed:
        return UserError(f"unknown {kind} '{name}'; did you mean '{shown}'?{f' ({hint})' if hint else ''}")
    return unknown(kind, name, allowed, hint)
