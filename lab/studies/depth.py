"""Deeper networks with all tricks on."""

from lab.studies.study import CIFAR10_IN_AN_EVENING, Arm, Scale, Study

_CLAIMED = {20: 6.90, 32: 6.20, 44: 6.12, 56: 5.64}  # test error on CIFAR-10 in percent

STUDY = Study(
    question="How much does depth bring to the network with all tricks on?",
    source="the XResNet / Mish / SE / ResNeXt CIFAR-10 study: 0.27, 0.47, 0.67, 0.86 million parameters",
    arms=tuple(Arm(f"se-mxresnet{n}", {"model": f"se-mxresnet{n}"}, claimed=100 - error) for n, error in _CLAIMED.items()),
    reference="se-mxresnet20",
    shared={
        "batch_size": 128,
        "init_lr": 0.1,
        "weight_decay": 2e-4,
        "ema_decay": 0.0,
        "schedule": "cosine",
        "label_smoothing": 0.1,
        "mixup_alpha": 0.2,
        "padding": "reflect",
    },
    scales={
        "smoke": Scale(
            {"dataset": "digits", "image_size": 16, "epochs": 3, "batch_size": 32}, ("se-mxresnet20", "se-mxresnet32"), seeds=2
        ),
        "cpu": Scale(CIFAR10_IN_AN_EVENING),
        "full": Scale({"dataset": "cifar10", "epochs": 180}),
    },
)
