"""Networks with and without the skip connection, shallow and deep."""

from lab.studies.study import CIFAR10_IN_AN_EVENING, Arm, Contrast, Scale, Study

_CLAIMED = {"resnet18": 92.0, "plain18": 82.0, "plain34": 78.0}


def _pair(depth, shallower=None):
    """Return the residual network and its plain twin, the twin compared with a shallower one: does depth alone make it worse?"""
    plain, residual = f"plain{depth}", f"resnet{depth}"
    return (
        Arm(plain, {"model": plain}, _CLAIMED.get(plain), versus=shallower and f"plain{shallower}"),
        Arm(residual, {"model": residual}, _CLAIMED.get(residual), versus=plain),
    )


STUDY = Study(
    question="Does the skip connection help, and does it help more in deeper networks?",
    source="the study of ResNet-18 against a plain CNN of the same depth, CIFAR-10, 50 epochs; He et al. 2015, section 4.2",
    arms=(*_pair(18), *_pair(34, 18), *_pair(20), *_pair(32, 20), *_pair(56, 20)),
    reference="plain18",
    contrasts=(
        Contrast.of_gains(
            "the skip connection's gain at 34 layers over that at 18", ("resnet34", "plain34"), ("resnet18", "plain18")
        ),
        Contrast.of_gains(
            "the skip connection's gain at 56 layers over that at 20", ("resnet56", "plain56"), ("resnet20", "plain20")
        ),
    ),
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
        "cpu": Scale(CIFAR10_IN_AN_EVENING, tuple(f"{kind}{depth}" for depth in (20, 32, 56) for kind in ("resnet", "plain"))),
        "full": Scale({"dataset": "cifar10", "epochs": 50}, ("resnet18", "plain18", "resnet34", "plain34")),
    },
    remarks=("Plain and residual twins have the same depth; projections give the residual one slightly more parameters.",),
)
