"""Batch and group norm in small and in large batches."""

from lab.studies.study import CIFAR10_IN_AN_EVENING, Arm, Contrast, Scale, Study

STUDY = Study(
    question="Does batch norm suffer in small batches where group norm does not?",
    source="the study of normalisations on Indian birds; Wu & He 2018, figure 1",
    arms=tuple(
        Arm(f"{norm}, batch {size}", {"norm": norm, "batch_size": size, "init_lr": 0.1 * size / 128}, versus=versus)
        for norm, size, versus in (
            ("batch", 128, None),
            ("batch", 8, None),
            ("group", 128, "batch, batch 128"),
            ("group", 8, "batch, batch 8"),
        )
    ),
    reference="batch, batch 128",
    contrasts=(
        Contrast.of_gains(
            "group norm's gain over batch norm at batch 8 over that at 128",
            ("group, batch 8", "batch, batch 8"),
            ("group, batch 128", "batch, batch 128"),
        ),
    ),
    shared={
        "model": "resnet6n2",
        "n": 2,
        "schedule": "cosine",
        "label_smoothing": 0.0,
        "ema_decay": 0.0,
    },
    scales={
        # So small, the two batches would not be faster in the same precision.
        "smoke": Scale(
            {"dataset": "digits", "image_size": 16, "epochs": 3, "early_stopping_patience": 1, "precision": "float32"}, seeds=2
        ),
        "cpu": Scale(CIFAR10_IN_AN_EVENING | {"early_stopping_patience": 4}),
        "full": Scale({"dataset": "indian_birds", "image_size": 256, "epochs": 50, "early_stopping_patience": 10}),
    },
    remarks=("The learning rate goes with the batch size (Goyal et al. 2017), so that batches alone do not decide.",),
)
