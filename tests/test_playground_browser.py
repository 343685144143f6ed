"""The playground in a real browser: its gradients are Keras', and a reader can play all five questions through."""

import json

import numpy as np
import pytest
from browsing import FILES, note_faults
from conftest import ROOT, run_python

pytestmark = pytest.mark.browser

PAGE = (ROOT / "docs" / "playground.html").as_uri()


@pytest.fixture(params=[1280, 400])
def tab(chromium, request):
    """The page at a width in pixels. At the test's end the console must be empty, and nothing have been asked of a network."""
    context = chromium.new_context(viewport={"width": request.param, "height": 900}, offline=True)
    tab, faults = context.new_page(), []
    note_faults(tab, faults, FILES)
    tab.goto(PAGE)
    yield tab
    context.close()
    assert faults == []


# The page's networks in Keras layers of float64, which on TensorFlow alone Keras computes with: a case for each combination.
CASES = """
import itertools, json, sys
import keras, numpy as np
import tensorflow as tf

WIDTH, CLASSES, DEPTH, EPSILON = 8, 2, 8, 1e-3

def call(row, x):
    norm, activation, dense = row
    x = norm(x, training=True) if norm else x
    return dense(activation(x) if activation else x)

def logits_of(rows, x, is_residual):
    x = call(rows[0], x)
    for first, second in zip(rows[1:-1:2], rows[2:-1:2]):
        branch = call(second, call(first, x))
        x = x + branch if is_residual else branch
    return call(rows[-1], x)

def row(i, has_norm, activation):
    norm = keras.layers.BatchNormalization(epsilon=EPSILON, dtype="float64") if has_norm and i else None
    between = keras.layers.Activation(activation, dtype="float64") if i else None
    return norm, between, keras.layers.Dense(CLASSES if i == DEPTH + 1 else WIDTH, dtype="float64")

cases, random = [], np.random.default_rng(5)
for is_residual, has_norm, activation in itertools.product((True, False), (True, False), ("relu", "silu", "tanh")):
    rows = [row(i, has_norm, activation) for i in range(DEPTH + 2)]
    points, labels = random.uniform(-1, 1, (30, 2)), random.integers(0, CLASSES, 30)
    logits_of(rows, tf.constant(points), is_residual)
    weights = []
    for norm, _, dense in rows:
        weights.append({"kernel": dense.kernel, "bias": dense.bias} | ({"gamma": norm.gamma, "beta": norm.beta} if norm else {}))
        for variable in weights[-1].values():
            variable.assign(random.normal(0, 0.5, variable.shape))
    flat = [variable.value for own in weights for variable in own.values()]
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits_of(rows, tf.constant(points), is_residual))
        loss = tf.reduce_mean(losses)
    gradients = iter(tape.gradient(loss, flat))
    named = lambda value: {name: np.ravel(value(variable)).tolist() for name, variable in own.items()}
    case = {"weights": [], "gradients": [], "points": points.ravel().tolist(), "labels": labels.tolist(), "loss": float(loss)}
    for own in weights:
        case["weights"].append(named(lambda variable: variable.numpy()))
        case["gradients"].append(named(lambda variable: next(gradients).numpy()))
    options = {"depth": DEPTH, "isResidual": is_residual, "hasNorm": has_norm, "activation": activation, "classes": CLASSES}
    cases.append(case | {"options": options})
json.dump(cases, open(sys.argv[1], "w"))
"""


def test_gradients_are_those_of_keras(chromium, tmp_path):
    process = run_python("-c", CASES, tmp_path / "cases.json", backend="tensorflow")
    assert process.returncode == 0, process.stderr
    cases = json.loads((tmp_path / "cases.json").read_text())
    assert len(cases) == 12
    tab = chromium.new_page()
    tab.goto(PAGE)
    for case in cases:
        found = tab.evaluate("given => window.playground.lossAndGradients(given)", case)
        assert found["loss"] == pytest.approx(case["loss"], rel=1e-9)
        wanted = {(i, name): own for i, layer in enumerate(case["gradients"]) for name, own in layer.items()}
        largest = max(np.abs(own).max() for own in wanted.values())  # what is zero in theory has rounding beside this size
        for (i, name), own in wanted.items():
            np.testing.assert_allclose(found["gradients"][i][name], own, rtol=1e-5, atol=1e-9 * largest, err_msg=f"{i} {name}")
    tab.close()


def set_to(tab, name, value):
    tab.evaluate(
        "([name, value]) => { const e = document.getElementById(name); if (e.type === 'checkbox') e.checked = value;"
        " else e.value = value; e.dispatchEvent(new Event('input')); }",
        [name, value],
    )


def answer(tab, number, choice):
    box = tab.locator("fieldset").nth(number)
    box.locator(f"input[value={choice}]").check()
    box.get_by_role("button").click()
    return box.locator("output").inner_text()


def test_five_questions_are_played_through(tab):
    assert "run the experiment first" in answer(tab, 0, "residual")
    tab.evaluate("window.playground.takeSteps(200)")
    assert answer(tab, 0, "residual").startswith("Yes: after 200 steps at depth 20 (spirals)")
    assert answer(tab, 0, "plain").startswith("Your networks say: the residual network's")
    for depth in (8, 36):
        set_to(tab, "depth", depth)
        tab.evaluate("window.playground.takeSteps(200)")
    assert answer(tab, 1, "higher").startswith("Yes") and answer(tab, 2, "larger").startswith("Yes")
    set_to(tab, "depth", 20)
    set_to(tab, "norm", False)
    tab.evaluate("window.playground.takeSteps(200)")
    assert answer(tab, 3, "none").startswith("Yes: plain 0.69")
    set_to(tab, "norm", True)
    set_to(tab, "depth", 16)
    tab.evaluate("window.playground.takeSteps(400)")
    for side in ("plain", "residual"):
        tab.get_by_role("button", name=f"cut block 5 of the {side} network", exact=True).click()
    assert answer(tab, 4, "plain").startswith("Yes: without block 5")


def test_it_is_played_by_keyboard_and_fits_the_window(tab):
    tab.keyboard.press("s")
    assert "step 1:" in tab.locator("#plain-state").inner_text()
    tab.keyboard.press(" ")
    assert tab.get_by_role("button", name="Pause").is_visible()
    tab.wait_for_function("networks.plain.steps > 5")
    tab.keyboard.press(" ")
    assert tab.get_by_role("button", name="Train", exact=True).is_visible()
    block = tab.get_by_role("button", name="cut block 1 of the residual network", exact=True)
    block.focus()
    tab.keyboard.press("Enter")
    assert block.get_attribute("aria-pressed") == "true" and "1 cut" in tab.locator("#residual-state").inner_text()
    tab.locator("h1").click()
    tab.keyboard.press("r")
    assert "step 0:" in tab.locator("#plain-state").inner_text()
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_it_is_one_small_file():
    assert (ROOT / "docs" / "playground.html").stat().st_size < 500_000
