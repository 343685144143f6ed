"""Our training step on torch: Keras' results, nothing asked of the device, errors where a choice can't be had."""

import keras
import numpy as np
import pytest
import torch
from conftest import ROOT, run_python
from torch.utils._python_dispatch import TorchDispatchMode

from dispatcher import build_model
from foundation.settings import Config
from lab.optimizers.optimizer import make_optimizer
from lab.optimizers.orthogonal import orthogonalize
from lab.training import torch_step
from lab.training.classifier import Classifier
from models.initialize import initialize

pytestmark = pytest.mark.numeric

OPTIMIZERS = {
    "plain": {"momentum": 0.0, "weight_decay": 0.0},
    "momentum and L2": {"momentum": 0.9, "weight_decay": 0.01},
    "Nesterov, L2 and average": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "ema_decay": 0.9},
    "muon": {"optimizer": "muon", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "ema_decay": 0.9},
    "muon with a slow backbone": {"optimizer": "muon", "weight_decay": 3.0, "backbone_rate": 0.1},
    "adam": {"optimizer": "adam", "weight_decay": 0.01},
}


def classifier(options, execution="eager", rate=0.05, **parts):
    keras.config.set_dtype_policy("float32")
    model = build_model("resnet20", (8, 8, 3), 4, **parts)
    initialize(model, 0)
    model = Classifier.of(model, execution)
    model.compile(make_optimizer(Config(**options), rate))
    return model


def batches(steps, size=16):
    random = np.random.default_rng(0)
    for _ in range(steps):
        images = torch.from_numpy(random.standard_normal((size, 8, 8, 3), "float32"))
        yield images, torch.eye(4)[torch.from_numpy(random.integers(0, 4, size))]


def everything(model):
    """Weights, moving statistics, slots and averages."""
    weights = [*model.trainable_weights, *(weight for weight in model.non_trainable_weights if "moving" in weight.name)]
    return [(variable.path, variable.numpy()) for variable in [*weights, *model.optimizer.variables]]


@pytest.mark.parametrize("options", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_step_does_what_keras_own_step_does(options):
    ours, keras_own = classifier(options, rate=0.001), classifier(options, rate=0.001)
    step = torch_step.TorchStep(ours, "eager")
    for images, labels in batches(4):
        logs, expected = step(images, labels), keras.Model.train_step(keras_own, (images, labels))
    assert {name: float(value) for name, value in logs.items()} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, rel=1e-4
    )
    for (name, value), (_, wanted) in zip(everything(ours), everything(keras_own), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=2e-3, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("shape", [(3, 16, 144), (1, 10, 10), (2, 30, 7), (2, 1, 5)])
def test_orthogonalizing_keeps_singular_vectors_and_makes_singular_values_alike(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    values = values / values.norm(dim=1, keepdim=True)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    found = torch.stack(orthogonalize(list(matrices))).double()  # ops.matmul computes in float32
    torch.testing.assert_close(found, left @ torch.diag_embed(values) @ right, rtol=1e-4, atol=1e-5)
    if shape != (1, 10, 10):  # a square matrix has singular values near 0, which five iterations do not reach
        assert values.min() > 0.6 and values.max() < 1.3
    assert not orthogonalize([torch.zeros(shape[1:])])[0].any()


@pytest.mark.parametrize("train_step", ["ours", "keras"])
def test_the_average_of_the_weights_forgets_the_first_steps_soon(train_step):
    """average += max(1 - decay, 5 / (t + 5)) * (weights - average), so after the first step it is the weights."""
    model = classifier({"ema_decay": 0.7})
    step = torch_step.TorchStep(model, "eager")
    kernel, average = model.trainable_variables[0], model.optimizer.averages[0]
    wanted = None
    for t, (images, labels) in enumerate(batches(6)):
        step(images, labels) if train_step == "ours" else keras.Model.train_step(model, (images, labels))
        share = max(0.3, 5 / (t + 5))
        wanted = kernel.numpy() if wanted is None else wanted + share * (kernel.numpy() - wanted)
        np.testing.assert_allclose(average.numpy(), wanted, rtol=1e-4, atol=1e-6)


def test_fit_reports_what_keras_users_expect():
    """History, validation and `evaluate` agree, whatever happens inside a step."""
    images, labels = (torch.cat(parts) for parts in zip(*batches(4), strict=True))
    model = classifier(OPTIMIZERS["momentum and L2"])
    history = model.fit(images, labels, batch_size=16, epochs=2, validation_data=(images, labels), verbose=0).history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(len(values) == 2 for values in history.values())
    measured = model.evaluate(images, labels, batch_size=16, verbose=0, return_dict=True)
    assert measured["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-5)
    assert int(model.optimizer.iterations) == 8


class Watch(TorchDispatchMode):
    """Fails on operations for which a GPU would have to stop: reading a value, and bringing one from the host."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        assert function.overloadpacket.__name__ not in ("_local_scalar_dense", "lift_fresh", "nonzero"), function
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("norm", ["batch", "batch-scratch", "batch-instance"])
@pytest.mark.parametrize("optimizer", ["Nesterov, L2 and average", "muon"])
def test_nothing_in_a_step_waits_for_the_device(optimizer, norm):
    model = classifier(OPTIMIZERS[optimizer], norm=norm)
    step = torch_step.TorchStep(model, "eager")
    for images, labels in batches(2):
        with Watch():
            step.compute(images, labels)
    with pytest.raises(AssertionError), Watch():
        float(images.sum())


@pytest.mark.parametrize("name", ["resnet20", "se-mxresnet20"])
def test_compiled_blocks_give_the_same_losses(name, monkeypatch):
    """With a backend of torch.compile that needs no C++ compiler."""
    monkeypatch.setattr(torch_step, "COMPILER", "aot_eager")
    losses = []
    for execution in ("eager", "compile"):
        model = build_model(name, (8, 8, 3), 4)
        initialize(model, 0)
        model = Classifier.of(model, execution)
        model.compile(make_optimizer(Config(), 0.001))
        step = torch_step.TorchStep(model, execution)
        losses.append([float(step(images, labels)["loss"]) for images, labels in batches(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here a graph can be had")
def test_a_graph_without_a_gpu_is_one_line(image_folder, tmp_path):
    process = run_python(ROOT / "train.py", "--dataset", f"folder:{image_folder}", "--execution", "graph", cwd=tmp_path)
    assert process.returncode == 2
    assert process.stderr.strip().splitlines()[-1].endswith("allowed here: auto, eager, compile")
    assert not (tmp_path / "output").exists()


def test_execution_is_refused_where_another_backend_computes(tmp_path):
    process = run_python(ROOT / "train.py", "--execution", "compile", backend="jax", cwd=tmp_path)
    assert (process.returncode, "is for torch" in process.stderr) == (2, True)


@pytest.mark.gpu
@pytest.mark.parametrize("execution", ["compile", "graph"])
def test_a_gpu_trains_alike_in_every_execution(execution):
    losses = []
    for chosen in ("eager", execution):
        step = torch_step.TorchStep(classifier(OPTIMIZERS["Nesterov, L2 and average"], chosen, rate=0.001), chosen)
        losses.append([float(step(images.cuda(), labels.cuda())["loss"]) for images, labels in batches(8)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
