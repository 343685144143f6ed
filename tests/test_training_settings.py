"""Trainings under other settings: longer, from an earlier epoch, early stopping, weight decay, every choice."""

import json

import numpy as np
import pytest
from conftest import ROOT, run_python
from whole_runs import assert_same_run, newest_weights, train

from foundation.settings import Config


def test_without_momentum_and_decay_a_step_changes_weights_by_rate_times_gradient(image_folder, tmp_path):
    plain = ["--momentum", "0", "--weight-decay", "0", "--ema-decay", "0", "--schedule", "constant", "--init-lr", "0.05"]
    process = train(tmp_path, image_folder, "--epochs", "2", "--run", "r", "--track-gradients", *plain, "--batch-size", "100")
    assert process.returncode == 0, process.stderr
    flow = json.loads((tmp_path / "output/r/flow.json").read_text())
    assert flow["layers"][0] == "stem_conv/kernel" and flow["layers"][-1] == "classifier/kernel" and flow["epoch"] == [1, 2]
    gradient, weight, ratio = (np.array(flow[name]) for name in ("gradient_norm", "weight_norm", "update_ratio"))
    assert gradient.shape == (2, len(flow["layers"])) and np.all(gradient > 0)
    assert ratio * weight == pytest.approx(0.05 * gradient, rel=2e-3)


def test_a_run_may_be_made_longer_where_the_rate_does_not_depend_on_it(image_folder, tmp_path):
    flags = ["--run", "r", "--n", "1", "--schedule", "constant"]
    assert train(tmp_path, image_folder, *flags, "--epochs", "1").returncode == 0
    longer = train(tmp_path, image_folder, *flags, "--epochs", "2")
    assert longer.returncode == 0 and "resuming run 'r' from epoch-00001" in longer.stdout, longer.stderr
    assert json.loads((tmp_path / "output/r/config.json").read_text())["epochs"] == 2
    assert json.loads((tmp_path / "output/r/history.json").read_text())["epoch"] == [1, 2]


def test_going_back_to_an_earlier_epoch_trims_the_history(image_folder, tmp_path):
    flags = ["--epochs", "3", "--run", "r", "--keep-checkpoints", "9"]
    assert train(tmp_path, image_folder, *flags).returncode == 0
    before = newest_weights(tmp_path, "r")
    process = train(tmp_path, image_folder, *flags, "--start-epoch", "1")
    assert process.returncode == 0 and "from epoch-00001" in process.stdout, process.stderr
    assert "epoch 2/3" in process.stdout and "epoch 1/3" not in process.stdout
    assert "start_epoch 1 discards epoch-00002, epoch-00003" in process.stdout
    assert_same_run(before, newest_weights(tmp_path, "r"))


def test_early_stopping_ends_a_run_and_keeps_it_ended(image_folder, tmp_path):
    flags = ["--epochs", "40", "--run", "r", "--early-stopping-patience", "1", "--init-lr", "1e-12"]
    process = train(tmp_path, image_folder, *flags)
    assert process.returncode == 0, process.stderr
    epochs = json.loads((tmp_path / "output/r/metrics.json").read_text())["epochs"]
    assert epochs < 40
    again = train(tmp_path, image_folder, *flags)
    assert again.returncode == 0 and "images/s  " not in again.stdout  # as every epoch's line has it
    assert json.loads((tmp_path / "output/r/metrics.json").read_text())["epochs"] == epochs


@pytest.mark.parametrize(
    "flags",
    [
        ["--optimizer", "adam", "--init-lr", "0.001", "--schedule", "plateau"],
        ["--optimizer", "adamw", "--init-lr", "0.001", "--schedule", "onecycle", "--cutmix-alpha", "1"],
        ["--optimizer", "rmsprop", "--init-lr", "0.001", "--schedule", "resnet", "--padding", "reflect"],
        [
            "--precision",
            "mixed_bfloat16",
            "--optimizer",
            "muon",
            "--schedule",
            "constant",
            "--tensorboard",
            "--augment",
            "cutout",
        ],
        ["--augment", "none", "--norm", "none", "--activation", "gelu", "--init-lr", "0.01"],
    ],
    ids=lambda flags: flags[1],
)
def test_every_choice_trains(flags, image_folder, tmp_path):
    process = train(tmp_path, image_folder, "--epochs", "2", "--run", "r", *flags)
    assert process.returncode == 0, process.stderr
    history = json.loads((tmp_path / "output/r/history.json").read_text())
    assert np.isfinite(history["loss"]).all() and np.isfinite(history["val_loss"]).all()
    assert (tmp_path / "output/r/tensorboard").is_dir() == ("--tensorboard" in flags)


def test_weight_decay_adds_its_share_of_every_kernel_to_the_gradient():
    """One SGD step against PyTorch's own, whose weight_decay is the papers' L2."""
    import keras
    import torch

    from lab.optimizers.optimizer import make_optimizer

    layer = keras.layers.Dense(3)
    layer.build((None, 4))
    kernel, bias = (torch.tensor(weight.numpy(), requires_grad=True) for weight in (layer.kernel, layer.bias))
    theirs = torch.optim.SGD([{"params": [kernel], "weight_decay": 0.3}, {"params": [bias]}], lr=0.1, momentum=0.9, nesterov=True)
    ours = make_optimizer(Config(weight_decay=0.3, nesterov=True), 0.1)
    for seed in range(3):
        gradients = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for shape in ((4, 3), (3,))]
        kernel.grad, bias.grad = (gradient.clone() for gradient in gradients)
        theirs.step()
        ours.apply(gradients, [layer.kernel, layer.bias])
    torch.testing.assert_close(layer.kernel.value, kernel)
    torch.testing.assert_close(layer.bias.value, bias)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "muon", "rmsprop", "lion"])
def test_weight_decay_shrinks_kernels_and_no_other_weight(optimizer):
    """Keras' own step, as jax and tensorflow run it, where gradients are zero: also batch-instance norm's gate stays."""
    import keras

    from dispatcher import build_model
    from lab.optimizers.optimizer import make_optimizer

    model = build_model("resnet6n2", (8, 8, 3), 4, norm="batch-instance", attention="cbam", blocks=1)
    for variable in model.trainable_variables:
        variable.assign(keras.ops.full(variable.shape, 0.5))
    ours = make_optimizer(Config(optimizer=optimizer, weight_decay=0.3), 0.1)
    ours.apply([keras.ops.zeros(variable.shape) for variable in model.trainable_variables], model.trainable_variables)
    moved = {variable.name for variable in model.trainable_variables if (variable.numpy() != 0.5).any()}
    assert moved == {"kernel"} and all((v.numpy() != 0.5).all() for v in model.trainable_variables if v.name == "kernel")


def test_digits_on_a_full_path_reach_a_fair_accuracy_quickly(tmp_path):
    process = run_python(ROOT / "train.py", "--epochs", "5", "--batch-size", "32", "--image-size", "16", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    metrics = json.loads((tmp_path / "output/xresnet20-digits-0/metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.9
