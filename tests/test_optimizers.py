"""Update rules against Keras' own and PyTorch's; what all optimizers have in common: clipping, accumulation, decay, averages."""

import json

import keras
import numpy as np
import pytest
import torch
from conftest import run_python
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.optimizers.optimizer import Optimizer
from lab.optimizers.rules import RULES

pytestmark = pytest.mark.numeric

# In float64, where rounding can hide no wrong formula. Both optimizers of a pair walk down a quadratic valley for 50 steps.
COMPARE = """
import json
import keras
import numpy as np
from lab.optimizers.optimizer import Optimizer

BETAS = {"beta_1": 0.875, "beta_2": 0.96875}  # exact in float32 too, to which Keras rounds them on tensorflow
OURS = {
    "sgd": ("sgd", {"momentum": 0.0, "nesterov": False}, 0.0),
    "momentum": ("sgd", {"momentum": 0.9, "nesterov": False}, 0.0),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}, 0.0),
    "adam": ("adam", BETAS, 0.0),
    "adamw": ("adamw", BETAS, 0.1),
    "rmsprop": ("rmsprop", {"momentum": 0.9}, 0.0),
    "lion": ("lion", {}, 0.1),
}
own = keras.optimizers
KERAS = {
    "sgd": own.SGD(0.01),
    "momentum": own.SGD(0.01, momentum=0.9),
    "nesterov": own.SGD(0.01, momentum=0.9, nesterov=True),
    "adam": own.Adam(0.01, **BETAS),
    "adamw": own.AdamW(0.01, weight_decay=0.1, **BETAS),
    "rmsprop": own.RMSprop(0.01, momentum=0.9),
    "lion": own.Lion(0.01, weight_decay=0.1),
}

def walk(optimizer):
    random = np.random.default_rng(0)
    shapes = {"kernel": (3, 4), "beta": (4,)}
    weights = [keras.Variable(random.standard_normal(s), dtype="float64", name=n) for n, s in shapes.items()]
    if optimizer.name in ("adam_w", "lion"):
        optimizer.exclude_from_weight_decay(var_names=["beta"])
    optimizer.build(weights)
    for _ in range(50):
        gradients = [2.0 * keras.ops.convert_to_numpy(w) + random.standard_normal(w.shape) for w in weights]
        optimizer.apply([keras.ops.convert_to_tensor(g, "float64") for g in gradients], weights)
    return np.concatenate([keras.ops.convert_to_numpy(w).ravel() for w in weights])

gaps = {}
for name, (rule, options, decay) in OURS.items():
    ours = walk(Optimizer(rule, 0.01, options, decay=decay))
    gaps[name] = float(np.abs(ours - walk(KERAS[name])).max())
    assert np.abs(ours).max() > 1e-3
print(json.dumps(gaps))
"""


@pytest.mark.parametrize("backend", ["torch", "jax", "tensorflow"])
def test_fifty_steps_are_those_of_keras_own_optimizers(backend, monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    process = run_python("-c", COMPARE, backend=backend)
    assert process.returncode == 0, process.stderr
    gaps = json.loads(process.stdout.splitlines()[-1])
    assert len(gaps) == 7 and max(gaps.values()) < 1e-6, gaps


def weights():
    random = np.random.default_rng(0)
    shapes = {"kernel": (3, 4), "beta": (4,)}
    return [keras.Variable(random.standard_normal(shape), dtype="float64", name=name) for name, shape in shapes.items()]


def made(rule="sgd", rate=0.01, options=None, **more):
    usual = {"momentum": 0.9, "nesterov": False}
    optimizer, variables = Optimizer(rule, rate, usual if options is None else options, **more), weights()
    optimizer.build(variables)
    return optimizer, variables


def gradients(seed):
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=random, dtype=torch.float64) for shape in ((3, 4), (4,))]


def values(variables):
    return [variable.value.detach().clone() for variable in variables]


THEIRS = {
    "sgd": (lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, nesterov=True), {"momentum": 0.9, "nesterov": True}),
    "adamw": (lambda p: torch.optim.AdamW(p, 0.01, eps=1e-14, weight_decay=0.0), {"epsilon": 1e-14}),
    "rmsprop": (lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, eps=0.0), {"momentum": 0.0, "epsilon": 0.0}),
}


@pytest.mark.parametrize("name", THEIRS)
def test_fifty_steps_are_those_of_torch_own_optimizers(name):
    make, options = THEIRS[name]
    rule = "adam" if name == "adamw" else name  # without decay they are one, and adam takes an epsilon
    ours, variables = made(rule, options=options)
    own = [torch.nn.Parameter(value) for value in values(variables)]
    theirs = make(own)
    for seed in range(50):
        for weight, gradient in zip(own, gradients(seed), strict=True):
            weight.grad = gradient
        theirs.step()
        ours.apply(gradients(seed))
    for value, wanted in zip(values(variables), own, strict=True):
        torch.testing.assert_close(value, wanted.data, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("count", [2, 3])
def test_accumulated_batches_move_weights_once_by_the_mean_of_their_gradients(rule, count):
    options = {name: {"momentum": 0.9, "nesterov": True}[name] for name in RULES[rule].takes}
    common = {"options": options, "decay": 0.1, "average_decay": 0.9, "clip": 2.0}
    (once, wanted), (many, found) = made(rule, **common), made(rule, accumulate=count, **common)
    for move in range(4):
        batches = [gradients(count * move + i) for i in range(count)]
        before = values(found)
        for i, batch in enumerate(batches):
            many.apply(batch)
            stands = all(torch.equal(old, new) for old, new in zip(before, values(found), strict=True))
            assert stands == (i < count - 1)
        once.apply([sum(parts) / count for parts in zip(*batches, strict=True)])
        for value, other in zip([*values(found), *values(many.averages)], [*values(wanted), *values(once.averages)], strict=True):
            torch.testing.assert_close(value, other, rtol=1e-9, atol=1e-9)
    assert int(many.iterations) == count * 4 and int(once.iterations) == 4


@settings(max_examples=40)
@given(clip=st.floats(1e-3, 1e3), scale=st.floats(1e-3, 1e3))
def test_gradients_above_a_norm_are_scaled_down_to_it_and_others_stay(clip, scale):
    optimizer, variables = made(options={"momentum": 0.0, "nesterov": False}, rate=1.0, clip=clip)
    before, given_ = values(variables), [gradient * scale for gradient in gradients(0)]
    total = float(torch.stack([gradient.norm() for gradient in given_]).norm())
    optimizer.apply([gradient.clone() for gradient in given_])
    for old, new, gradient in zip(before, values(variables), given_, strict=True):
        torch.testing.assert_close(old - new, gradient * min(1.0, clip / total), rtol=1e-5, atol=1e-6 * total)
    assert float(optimizer.gradient_norms.value.norm()) == pytest.approx(total, rel=1e-5)  # recorded before they are clipped


@pytest.mark.parametrize("rule", RULES)
def test_a_slot_that_an_optimizer_keeps_is_one_of_its_rule(rule):
    options = {name: {"momentum": 0.9, "nesterov": False}[name] for name in RULES[rule].takes}
    optimizer, variables = made(rule, options=options)
    assert optimizer.slots.keys() == set(RULES[rule].slots)
    names = [variable.name for variable in optimizer.variables]
    assert len(set(names)) == len(names) == 5 + len(variables) * len(RULES[rule].slots)
