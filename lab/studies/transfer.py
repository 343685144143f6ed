"""A network trained on some digits, and few images of the others."""

from lab.studies.study import SOURCE, Arm, Scale, Study

STUDY = Study(
    question="Does a network that knows five digits learn the other five from few images better than a new one?",
    source="Yosinski et al. 2014, on how transferable features are; the embedded scans of handwritten digits",
    arms=(
        Arm("from scratch", {}),
        Arm("fine-tuned", {"init_from": SOURCE}),
        Arm("head only", {"init_from": SOURCE, "freeze": "backbone", "init_lr": 0.1}),
    ),
    reference="from scratch",
    source_run={"dataset": "digits:0-4", "images_per_class": 0, "epochs": 10, "batch_size": 32, "init_lr": 0.1},
    shared={
        "dataset": "digits:5-9",
        "images_per_class": 5,
        "model": "resnet20",
        "image_size": 16,
        "batch_size": 5,
        "init_lr": 0.03,
        "warmup_epochs": 0.5,
    },
    scales={
        "smoke": Scale({"epochs": 4, "n": 1}, seeds=2),
        "cpu": Scale({"epochs": 20}, seeds=5),
        "full": Scale({"epochs": 200}, seeds=5),
    },
    remarks=(
        "Five images of each class are drawn anew by every seed. Val, which chooses the epoch, holds a tenth of all images "
        "of the five classes: more than train, and the same for all arms.",
        "Given longer (--epochs 60) a new network comes closer.",
    ),
)
