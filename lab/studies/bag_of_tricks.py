"""Gain from each trick of the CIFAR-10 study, added one after the other."""

from lab.studies.study import CIFAR10_IN_AN_EVENING, Arm, Scale, Study

# Claimed: test error on CIFAR-10 in percent.
_STEPS = (
    ("xresnet20", {"model": "xresnet20"}, 8.18),
    ("+ Mish", {"model": "mxresnet20"}, 7.93),
    ("+ SE", {"model": "se-mxresnet20"}, 7.81),
    ("+ cosine", {"schedule": "cosine"}, 7.53),
    ("+ label smoothing", {"label_smoothing": 0.1}, 7.49),
    ("+ mixup", {"mixup_alpha": 0.2}, 7.03),
    ("+ reflection padding", {"padding": "reflect"}, 6.90),
)


def _cumulative():
    """Yield each step with all steps before it, compared with the step before."""
    settings, before = {"schedule": "resnet", "label_smoothing": 0.0}, None
    for name, change, error in _STEPS:
        settings = settings | change
        yield Arm(name, settings, claimed=100 - error, versus=before)
        before = name


STUDY = Study(
    question="Which of the CIFAR-10 study's tricks help, each on top of those before it?",
    source="the XResNet / Mish / SE / ResNeXt CIFAR-10 study; He et al. 2015 state 8.75 % error for ResNet-20",
    arms=tuple(_cumulative()),
    reference="xresnet20",
    shared={"batch_size": 128, "init_lr": 0.1, "weight_decay": 2e-4, "ema_decay": 0.0},
    scales={
        "smoke": Scale({"dataset": "digits", "image_size": 16, "epochs": 3, "batch_size": 32}, seeds=2),
        "cpu": Scale(CIFAR10_IN_AN_EVENING),
        "full": Scale({"dataset": "cifar10", "epochs": 180}),
    },
    remarks=("The source chose its epochs by test images; here val chooses, and test is measured once.",),
)
