"""PyTorch, JAX and TensorFlow: same batches, same networks, weights that travel."""

import json

import ml_dtypes
import numpy as np
import pytest
from conftest import ROOT, run_python
from trained_networks import FEW_NETWORKS

pytestmark = pytest.mark.numeric

BACKENDS = ("torch", "jax", "tensorflow")

# The first batches of an epoch, and logits and gradients of networks whose weights are drawn by address.
PROBE = '''
import json, sys
from foundation import backend
import keras, numpy as np
from keras import ops
from datasets.augment import Augmentation
from datasets.batches import TrainingBatches
from datasets.catalog import load
from dispatcher import build_model
from foundation.errors import UserError
from lab.training.backends import check_bfloat16
from models.initialize import initialize
from models.norms import NORMS

found = {}
dataset = load("digits")
KINDS = {
    "mixup": {"mixup_alpha": 0.4},
    "cutmix": {"cutmix_alpha": 1.0, "padding": "reflect"},
    "growing": {"start_size": 16, "growth_epochs": 8},
}
for kind, options in KINDS.items():
    batches = TrainingBatches(dataset, 32, 5, Augmentation(**options), label_smoothing=0.1)
    batches.epoch = 3
    found[f"images {kind}"], found[f"labels {kind}"] = map(ops.convert_to_numpy, batches[1])

def logits_loss_and_gradients(model, images, labels):
    loss_of = keras.losses.CategoricalCrossentropy(from_logits=True)
    if keras.config.backend() == "jax":
        return in_one_program(model, images, labels, loss_of)
    logits = model(images, training=False)
    if keras.config.backend() == "torch":
        loss = loss_of(labels, model(images, training=True))
        loss.backward()
        return logits, loss, [variable.value.grad for variable in model.trainable_variables]
    import tensorflow as tf
    with tf.GradientTape() as tape:
        loss = loss_of(labels, model(images, training=True))
    return logits, loss, tape.gradient(loss, [variable.value for variable in model.trainable_variables])

def in_one_program(model, images, labels, loss_of):
    """Operation by operation jax would compile each for itself, which takes three times as long."""
    import jax
    trainable, others = ([v.value for v in variables] for variables in (model.trainable_variables, model.non_trainable_variables))
    def all_three(trainable, others):
        def loss_at(trainable):
            return loss_of(labels, model.stateless_call(trainable, others, images, training=True)[0])
        logits, _ = model.stateless_call(trainable, others, images, training=False)
        return logits, *jax.value_and_grad(loss_at)(trainable)
    return jax.jit(all_three)(trainable, others)

try:
    check_bfloat16()
    HAS_BFLOAT16 = True
except UserError:
    HAS_BFLOAT16 = False
random = np.random.default_rng(0)
norm, x = NORMS["evonorm-s0"](groups=2), np.random.default_rng(1).standard_normal((2, 3, 4, 6)).astype("float32") + 1
norm.build(x.shape)
for i, weight in enumerate(norm.trainable_variables):
    weight.assign(np.linspace(0.5, 1.5 + i, 6))
found["evonorm"] = ops.convert_to_numpy(norm(x, training=True))
for name in "batch", "batch-scratch":
    for images, dtype in (x, "float32"), (x[:1, :1, :1], "float32"), (x, "bfloat16"):
        if dtype == "bfloat16" and not HAS_BFLOAT16:
            continue
        norm = NORMS[name](dtype="mixed_bfloat16" if dtype == "bfloat16" else dtype)
        norm.build(images.shape)
        norm.gamma.assign(np.linspace(0.5, 1.5, 6))
        y = norm(ops.cast(ops.convert_to_tensor(images), dtype), training=True)
        values = ops.cast(y, "float32"), norm.moving_mean, norm.moving_variance
        for what, value in zip(("images", "mean", "variance"), values):
            found[f"{name} {images.shape[0]} {dtype} {what}"] = ops.convert_to_numpy(value)
for name, (base, options) in json.loads(sys.argv[2]).items():
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    size = 45 if base.endswith("-224") else 13
    model = build_model(base, (size, size, 3), 4, **options)
    initialize(model, 7)
    images = ops.convert_to_tensor(random.standard_normal((6, size, size, 3)).astype("float32"))
    labels = ops.convert_to_tensor(np.eye(4, dtype="float32")[[0, 1, 2, 3, 0, 1]])
    logits, loss, gradients = logits_loss_and_gradients(model, images, labels)
    found[f"logits {name}"] = ops.convert_to_numpy(logits)
    found[f"loss {name}"] = ops.convert_to_numpy(ops.stop_gradient(loss))
    for variable, gradient in zip(model.trainable_variables, gradients):
        found[f"gradients {name} {variable.path}"] = ops.convert_to_numpy(gradient)
np.savez(sys.argv[1], **found)
'''
# By ReLU, and by max pooling: rounding decides on which side of a kink a value lies, and one of some 100,000 may lie at it.
HAVE_KINKS = {"no shortcuts", "deep stem, bottlenecks, pooling", "large stem"}


@pytest.fixture(scope="module")
def probes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    found = {}
    for backend in BACKENDS:
        process = run_python("-c", PROBE, folder / f"{backend}.npz", json.dumps(FEW_NETWORKS), backend=backend)
        assert process.returncode == 0, process.stderr
        found[backend] = dict(np.load(folder / f"{backend}.npz"))
    return found


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_batches_are_the_same_on_every_backend(probes, backend):
    for kind in ("mixup", "cutmix", "growing"):
        for name in (f"images {kind}", f"labels {kind}"):
            np.testing.assert_allclose(probes["torch"][name], probes[backend][name], atol=2e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_evonorm_s0_follows_its_equation_on_every_backend(probes, backend):
    """Liu et al. 2020, with the weights that the probe gave gamma, beta and v."""
    gamma, beta, v = (np.linspace(0.5, 1.5 + i, 6) for i in range(3))
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 6)).astype("float32") + 1.0
    variance = x.reshape(2, 12, 2, 3).astype("float64").var((1, 3)).repeat(3, 1)[:, None, None]
    wanted = gamma * x / (1 + np.exp(-v * x)) / np.sqrt(variance + 1e-5) + beta
    np.testing.assert_allclose(probes[backend]["evonorm"], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("images, dtype", [(2, "float32"), (1, "float32"), (2, "bfloat16")])
@pytest.mark.parametrize("name", ["batch", "batch-scratch"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_norm_follows_its_equation_on_every_backend(probes, backend, name, images, dtype):
    """Ioffe & Szegedy 2015, algorithm 1, also of one value per channel; moving statistics take the biased variance."""
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 6)).astype("float32") + 1.0
    x = x[:1, :1, :1] if images == 1 else x
    x = x.astype(ml_dtypes.bfloat16).astype("float64") if dtype == "bfloat16" else x.astype("float64")
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    wanted = {
        "images": np.linspace(0.5, 1.5, 6) * (x - mean) / np.sqrt(variance + 1e-5),
        "mean": 0.1 * mean,
        "variance": 0.9 + 0.1 * variance,
    }
    float32 = 1e-5 + 2**-22 * np.abs(x).max() / np.sqrt(variance.min() + 1e-5)  # x * scale + shift, which cancel
    if backend == "tensorflow" and f"{name} {images} {dtype} mean" not in probes[backend]:
        pytest.skip("TensorFlow computes no bfloat16 on this processor")
    for what, value in wanted.items():
        rounding = 2**-7 if what == "images" and dtype == "bfloat16" else float32
        np.testing.assert_allclose(probes[backend][f"{name} {images} {dtype} {what}"], value, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("model", FEW_NETWORKS)
def test_networks_are_the_same_on_every_backend(probes, backend, model):
    """At odd sizes, where strides meet odd sides."""
    one, other = probes["torch"], probes[backend]
    scale = np.abs(one[f"logits {model}"]).max()
    np.testing.assert_allclose(one[f"logits {model}"], other[f"logits {model}"], rtol=1e-4, atol=1e-4 * scale)
    np.testing.assert_allclose(one[f"loss {model}"], other[f"loss {model}"], rtol=1e-4)
    paths = [path for path in one if path.startswith(f"gradients {model} ")]
    whole = np.sqrt(sum(np.square(one[path]).sum() for path in paths))
    assert len(paths) >= 5
    for path in paths:
        difference = np.linalg.norm(one[path] - other[path])
        share = 2e-2 if model in HAVE_KINKS else 1e-3
        assert difference <= share * np.linalg.norm(one[path]) + 1e-6 * whole, path


# Divides the 81 images of train: a last, smaller batch would be compiled for itself.
ONE_SHAPE = ["--batch-size", "27"]
OPTIONS = [
    "--optimizer muon --nesterov --schedule plateau --precision mixed_bfloat16 --norm batch-instance --class-weights balanced"
    " --tensorboard",
    "--optimizer adamw --init-lr 0.002 --schedule onecycle --stochastic-depth 0.3 --attention se --augment cutout --track-f1",
]


@pytest.mark.parametrize("flags", OPTIONS)
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_options_train_on_every_backend(backend, flags, image_folder, tmp_path):
    command = [ROOT / "train.py", "--dataset", f"folder:{image_folder}", "--model", "one-block", "--run", "r"]
    command += ["--image-size", "8", "--epochs", "2", *ONE_SHAPE, *flags.split()]
    process = run_python(*command, backend=backend, cwd=tmp_path)
    if "computes no bfloat16" in process.stderr:  # TensorFlow on a processor without AVX-512
        assert process.returncode == 2 and backend == "tensorflow" and process.stderr.count("\n") == 1
        process = run_python(*command, "--precision", "float32", backend=backend, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    history = json.loads((tmp_path / "output/r/history.json").read_text())
    assert len(history["epoch"]) == 2 and np.isfinite(history["loss"]).all() and np.isfinite(history["val_loss"]).all()


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_the_same_command_trains_on_every_backend_and_its_weights_travel(backend, image_folder, tmp_path):
    flags = ["--dataset", f"folder:{image_folder}", "--model", "one-block", "--epochs", "3", "--run", "r", "--init-lr", "0.02"]
    flags += ["--start-size", "8", "--growth-epochs", "2", *ONE_SHAPE]
    process = run_python(ROOT / "train.py", *flags, "--ema-decay", "0.5", "--mixup-alpha", "0.2", backend=backend, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    history = json.loads((tmp_path / "output/r/history.json").read_text())
    assert history["loss"][-1] < history["loss"][0]
    assert json.loads((tmp_path / "output/r/environment.json").read_text())["backend"] == backend
    metrics = json.loads((tmp_path / "output/r/metrics.json").read_text())
    on_torch = run_python(ROOT / "evaluate.py", "r", backend="torch", cwd=tmp_path)
    assert on_torch.returncode == 0, on_torch.stderr
    again = json.loads((tmp_path / "output/r/metrics.json").read_text())
    for split in ("train", "val", "test"):
        assert again[split]["loss"] == pytest.approx(metrics[split]["loss"], rel=1e-3)
