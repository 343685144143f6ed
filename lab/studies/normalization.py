"""Six normalisations, and none, in one small residual network."""

from lab.studies.study import CIFAR10_IN_AN_EVENING, Arm, Scale, Study

_NORMS = ("batch", "batch-scratch", "instance", "batch-instance", "layer", "group", "none")

STUDY = Study(
    question="Which normalisation serves a 6n + 2 residual network best, and what happens without any?",
    source="the study of normalisations on 25 species of Indian birds: n = 2, 256x256, batch 32, 50 epochs, SGD from 1e-4",
    arms=tuple(Arm(norm, {"norm": norm}) for norm in _NORMS),
    reference="batch",
    shared={
        "model": "resnet6n2",
        "n": 2,
        "batch_size": 32,
        "schedule": "cosine",
        "label_smoothing": 0.0,
        "ema_decay": 0.0,
        "track_f1": True,
    },
    scales={
        "smoke": Scale({"dataset": "digits", "image_size": 16, "epochs": 3, "init_lr": 0.01}, seeds=2),
        "cpu": Scale(CIFAR10_IN_AN_EVENING | {"batch_size": 128, "init_lr": 0.05}),
        "full": Scale({"dataset": "indian_birds", "image_size": 256, "epochs": 50, "init_lr": 0.02}),
    },
    remarks=(
        "The source trained from a rate of 1e-4: --set init_lr=0.0001 schedule=constant repeats it. "
        "The scales' own rates are such that the network without any norm still trains.",
    ),
)
