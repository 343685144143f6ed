"""Bottlenecks with and without groups, and how many groups at equal cost."""

from lab.studies.study import CIFAR10_IN_AN_EVENING, Arm, Scale, Study

_TRICKS = {"schedule": "cosine", "label_smoothing": 0.1, "mixup_alpha": 0.2, "padding": "reflect"}

STUDY = Study(
    question="Do grouped convolutions help at equal cost, and how many groups?",
    source="the XResNet / Mish / SE / ResNeXt CIFAR-10 study; Xie et al. 2017, table 3: cardinality against width",
    arms=(
        Arm("C = 1, width 16", {"model": "xresnet29"}, claimed=100 - 7.62),
        Arm("C = 2, width 10", {"model": "xresnext29_2x10d"}),
        Arm("C = 4, width 6", {"model": "xresnext29_4x6d"}),
        Arm("C = 16, width 2", {"model": "xresnext29_16x2d"}, claimed=100 - 6.70),
        Arm("C = 16, all tricks", {"model": "se-mxresnext29_16x2d"} | _TRICKS, claimed=100 - 5.32, versus="C = 16, width 2"),
    ),
    reference="C = 1, width 16",
    shared={
        "batch_size": 128,
        "init_lr": 0.1,
        "weight_decay": 2e-4,
        "ema_decay": 0.0,
        "schedule": "resnet",
        "label_smoothing": 0.0,
    },
    scales={
        "smoke": Scale(
            {"dataset": "digits", "image_size": 16, "epochs": 2, "batch_size": 32},
            ("C = 1, width 16", "C = 16, width 2"),
            seeds=2,
        ),
        "cpu": Scale(CIFAR10_IN_AN_EVENING),
        "full": Scale({"dataset": "cifar10", "epochs": 180}),
    },
)
