"""The training step on torch's "meta" device, which stands for a GPU: nothing may go between it and the host.

Tensors on "meta" have no content, so `.item()` on one raises, and so does an operation on tensors of two devices. What is left,
tensors made of Python numbers and copies between devices, is watched for here: on a GPU each is a wait for the device, and an
error while a CUDA graph is recorded.
"""

import contextlib

import keras
import numpy as np
import pytest
import torch
from keras.src.backend.torch import core
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from callbacks.schedules import TableSchedule, learning_rates
from datasets.augment import Augmentation
from datasets.batches import FIRST, TrainingBatches
from dispatcher import build_model
from foundation.settings import Config
from lab.benchmarks.random_images import data_set, random_split
from lab.optimizers.optimizer import make_optimizer
from lab.training.classifier import Classifier
from lab.training.torch_step import EvaluationStep, TorchStep

SGD = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "ema_decay": 0.99}
# name: (model, settings, parts of the network, compiled with macro F1, batch with weights)
CASES = {
    "resnet20": ("resnet20", SGD, {}, False, False),
    "the default": ("xresnet20", {}, {}, False, False),
    "macro F1": ("resnet20", SGD, {}, True, False),
    "class weights": ("resnet20", SGD, {}, False, True),
    "stochastic depth": ("resnet20", SGD, {"stochastic_depth": 0.5}, False, False),
    "backbone rate": ("resnet20", SGD | {"backbone_rate": 0.1}, {}, False, False),
    "constant rate": ("resnet20", SGD | {"schedule": "plateau"}, {}, False, False),
    "muon": ("resnet20", SGD | {"optimizer": "muon"}, {}, False, False),
    "adam": ("resnet20", {"optimizer": "adam"}, {}, False, False),
    "adamw": ("resnet20", {"optimizer": "adamw", "weight_decay": 0.1, "ema_decay": 0.9}, {}, False, False),
    "rmsprop": ("resnet20", {"optimizer": "rmsprop"}, {}, False, False),
    "lion, clipped": ("resnet20", {"optimizer": "lion", "gradient_clip": 1.0}, {}, False, False),
    "accumulating": ("resnet20", SGD | {"accumulate": 2}, {}, False, False),
    "pre-activation": ("preresnet20", SGD, {}, False, False),
    "bottleneck": ("resnet50d-224", SGD, {"blocks": (1, 1, 1, 1)}, False, False),
    "grouped, se, mish": ("se-mxresnext29_16x2d", SGD, {}, False, False),
    "cbam": ("resnet20", SGD, {"attention": "cbam"}, False, False),
    "zero shortcut": ("resnet20", SGD, {"shortcut": "zero"}, False, False),
} | {
    f"norm {norm}": ("resnet20", SGD, {"norm": norm}, False, False)
    for norm in ("batch-scratch", "instance", "batch-instance", "layer", "group", "none")
}


class HostContact(Exception):
    """Something went between the host and the device."""


class Numbers(TorchFunctionMode):
    """Raises HostContact where a tensor is made of what is no tensor."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        if function in (torch.tensor, torch.as_tensor, torch.asarray) and not isinstance(arguments[0], torch.Tensor):
            raise HostContact(f"{function.__name__}({arguments[0]!r:.60})")
        return function(*arguments, **(options or {}))


class Copies(TorchDispatchMode):
    """Raises HostContact where an operation reads one device and writes another, or makes a tensor on the host."""

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        devices = {leaf.device.type for leaf in tree_leaves((arguments, options, result)) if isinstance(leaf, torch.Tensor)}
        if "cpu" in devices:
            raise HostContact(f"{operation} on {sorted(devices)}")
        return result


def on_meta(model):
    """Moves a compiled model to the device without content."""
    for variable in {id(v): v for v in (*model.variables, *model.optimizer.variables, *model.metrics_variables)}.values():
        variable._value = torch.empty_like(variable.value, device="meta").requires_grad_(variable.value.requires_grad)
    for name in ("rates", "least_share", "least_norm"):
        value = getattr(model.optimizer, name)
        setattr(model.optimizer, name, None if value is None else value.to("meta"))


@contextlib.contextmanager
def a_device():
    """Inside, Keras makes tensors on "meta"."""
    with pytest.MonkeyPatch.context() as patch, keras.device("meta"), torch.device("meta"):
        # Keras compares a tensor's device with the name "meta", finds them unequal, and makes a new tensor without a gradient.
        patch.setattr(core, "get_device", lambda: torch.device("meta"))
        yield


def step_and_batch(case, precision="float32", size=8):
    name, settings, parts, has_f1, has_weights = CASES[case]
    keras.config.set_dtype_policy(precision)
    try:
        model = Classifier.of(build_model(name, (size, size, 3), 10, **{"blocks": 1} | parts), "eager")
        config = Config(**settings)
        rates = 0.1 if config.schedule == "plateau" else TableSchedule(learning_rates("cosine", 0.1, 1, 40, 0.1))
        model.compile(make_optimizer(config, rates), has_f1)
    finally:
        keras.config.set_dtype_policy("float32")
    on_meta(model)
    batch = [torch.empty(4, size, size, 3, device="meta"), torch.empty(4, 10, device="meta")]
    return model, TorchStep(model, "eager"), [*batch, torch.empty(4, device="meta")] if has_weights else batch


HALF = ("resnet20", "the default", "stochastic depth", "norm batch-scratch", "norm batch-instance", "grouped, se, mish")


@pytest.mark.parametrize(
    ("case", "precision"), [(case, "float32") for case in CASES] + [(case, "mixed_bfloat16") for case in HALF]
)
def test_nothing_goes_between_the_host_and_the_device_within_a_step(case, precision):
    model, step, batch = step_and_batch(case, precision)
    with a_device():
        measure = EvaluationStep(model)
        with Numbers(), Copies():
            step(*batch)
            step(*batch)
            measure(*batch[:2])


def test_the_watch_sees_what_it_watches_for():
    x = torch.empty(4, device="meta")
    with a_device(), Numbers(), Copies():
        with pytest.raises(HostContact):
            keras.ops.maximum(x, 1.0)
        with pytest.raises(NotImplementedError):
            x.to("cpu")
        with pytest.raises(HostContact):
            x.copy_(torch.zeros(4, device="cpu"))
        with pytest.raises(RuntimeError):
            x.sum().item()
        with pytest.raises(HostContact):
            keras.ops.one_hot(torch.empty(4, dtype=torch.int32, device="meta"), 10)


AUGMENTATIONS = {
    "shift and mirror": Augmentation(),
    "reflected": Augmentation(padding="reflect", mirror="alternating"),
    "none": Augmentation(augment="none"),
    "mixup": Augmentation(mixup_alpha=0.4),
    "cutmix": Augmentation(cutmix_alpha=1.0),
    "mixup or cutmix": Augmentation(mixup_alpha=0.4, cutmix_alpha=1.0),
    "growing": Augmentation(start_size=8, growth_epochs=3),
}


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_batches_made_together_are_the_very_batches_made_one_by_one(augmentation, class_weights, monkeypatch):
    data = data_set(random_split(350, 16, 10), random_split(20, 16, 10), 10)
    alone, together = (TrainingBatches(data, 32, 3, augmentation, 0.1, class_weights) for _ in range(2))
    monkeypatch.setattr(together, "steps_together", 6)
    for epoch in (0, 1):
        alone.epoch = together.epoch = epoch
        for i in range(len(alone)):
            for own, other in zip(alone[i], together[i], strict=True):
                np.testing.assert_array_equal(np.asarray(own), np.asarray(other))


@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_between_two_steps_nothing_is_brought_to_the_device(augmentation):
    with a_device():
        data = data_set(random_split(FIRST * 32, 16, 10), random_split(20, 16, 10), 10)
        batches = TrainingBatches(data, 32, 3, augmentation, 0.1)
        batches[0]
        with Numbers(), Copies():
            for i in range(1, len(batches)):
                batches[i]
