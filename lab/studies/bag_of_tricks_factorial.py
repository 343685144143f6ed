"""The tricks of the CIFAR-10 study in all combinations that tell their effects and interactions."""

from dataclasses import replace

from lab.reports.factorial import Factor
from lab.studies.bag_of_tricks import STUDY as ONE_AFTER_THE_OTHER
from lab.studies.factorial import factorial

STUDY = factorial(
    (
        Factor("Mish", {"activation": "relu"}, {"activation": "mish"}),
        Factor("SE", {"attention": "none"}, {"attention": "se"}),
        Factor("cosine", {"schedule": "resnet"}, {"schedule": "cosine"}),
        Factor("label smoothing", {"label_smoothing": 0.0}, {"label_smoothing": 0.1}),
        Factor("mixup", {"mixup_alpha": 0.0}, {"mixup_alpha": 0.2}),
        Factor("reflection padding", {"padding": "zero"}, {"padding": "reflect"}),
    ),
    is_half=True,
    question="What does each trick of the CIFAR-10 study bring, alone and together with each other one?",
    source="the XResNet / Mish / SE / ResNeXt CIFAR-10 study, which adds one trick after the other and so hides interactions",
    shared=ONE_AFTER_THE_OTHER.shared | {"model": "xresnet20"},
    scales={name: replace(scale, arms=()) for name, scale in ONE_AFTER_THE_OTHER.scales.items()},
)
