"""Networks with and without the skip connection, shallow and deep."""

from studies.study import Arm, Scale, Study

_CLAIMED = {"resnet18": 92.0, "plain18": 82.0, "plain34": 78.0}


def _pair(depth):
    """The residual network and its plain twin."""
    plain, residual = f"plain{depth}", f"resnet{depth}"
    return (
        Arm(plain, {"model": plain}, _CLAIMED.get(plain)),
        Arm(residual, {"model": residual}, _CLAIMED.get(residual), versus=plain),
    )


STUDY = Study(
    question="Does the skip connection help, and does it help more in deeper networks?",
    source="the study of ResNet-18 against a plain CNN of the same depth, CIFAR-10, 50 epochs; He et al. 2015, section 4.2",
    arms=tuple(arm for depth in (18, 34, 20, 56) for arm in _pair(depth)),
    reference="plain18",
    shared={
        "batch_size": 128,
        "init_lr": 0.1,
        "weight_decay": 5e-4,
        "schedule": "cosine",
        "label_smoothing": 0.0,
        "ema_decay": 0.0,
        "track_gradients": True,
    },
    scales={
        "smoke": Scale({"dataset": "digits", "image_size": 16, "epochs": 3, "batch_size": 32}, ("resnet20", "plain20"), seeds=2),
        "cpu": Scale(
            {"dataset": "cifar10", "epochs": 10, "precision": "mixed_bfloat16"},
            ("resnet20", "plain20", "resnet56", "plain56"),
            seeds=2,
        ),
        "full": Scale({"dataset": "cifar10", "epochs": 50}, ("resnet18", "plain18", "resnet34", "plain34")),
    },
    remarks=("Plain and residual twins have the same depth; projections give the residual one slightly more parameters.",),
)
