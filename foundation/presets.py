"""Presets: settings that belong together, under one name. They win over config.py, and flags win over them."""

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
        "precision": "auto",
    },
}
