"""A/A test: one arm under two names, to see whether the statistics claim a difference where there is none."""

from lab.studies.study import CIFAR10_IN_AN_EVENING, Arm, Scale, Study

STUDY = Study(
    question="Do the statistics keep silent about two arms that are the same?",
    source="A/A test (Kohavi, Tang & Xu 2020, Trustworthy online controlled experiments, chapter 19)",
    arms=(Arm("network", {}), Arm("the same network", {}, first_seed=1000)),
    reference="network",
    shared={"model": "resnet6n2", "n": 1, "ema_decay": 0.0},
    scales={
        "smoke": Scale({"dataset": "digits", "image_size": 16, "images_per_class": 30, "epochs": 5, "batch_size": 32}, seeds=20),
        "cpu": Scale(CIFAR10_IN_AN_EVENING, seeds=20),
        "full": Scale({"dataset": "cifar10", "epochs": 50}, seeds=20),
    },
    remarks=("The arms differ in their random numbers alone: splits, order, augmentation and initial weights are drawn anew.",),
)
