"""Basic against bottleneck blocks, norm and activation before against after the convolutions."""

from lab.studies.study import Arm, Scale, Study

_NAMES = tuple(f"mini-{kind}-{order}" for kind in ("basic", "bottleneck") for order in ("post", "pre"))

STUDY = Study(
    question="Basic or bottleneck blocks, pre- or post-activation, in a Mini-ResNet for 64x64 images?",
    source="the Mini-ResNet study on 25 classes of Tiny-ImageNet",
    arms=tuple(Arm(name, {"model": name}) for name in _NAMES),
    reference="mini-basic-post",
    measures=("latency_ms",),
    shared={
        "batch_size": 128,
        "init_lr": 0.1,
        "weight_decay": 5e-4,
        "schedule": "cosine",
        "label_smoothing": 0.0,
        "ema_decay": 0.0,
    },
    scales={
        "smoke": Scale({"dataset": "shapes:5", "image_size": 32, "epochs": 2, "batch_size": 32}, seeds=2),
        # Chosen by val on mini-basic-post alone, on 28 November 2026, before any comparison was looked at: one seed, 62.6 %.
        "cpu": Scale(
            {
                "dataset": "tiny_imagenet25",
                "epochs": 12,
                "batch_size": 64,
                "init_lr": 0.05,
                "start_size": 32,
                "growth_epochs": 9.0,
            }
        ),
        "full": Scale({"dataset": "tiny_imagenet25", "epochs": 50}),
    },
)
