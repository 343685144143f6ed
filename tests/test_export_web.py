"""The exported web page: its JavaScript computes our logits and sees pictures as training does; a reader gets answers from it."""

import base64
import json

import keras
import numpy as np
import pytest
from browsing import FILES, note_faults
from conftest import write_images
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from py_mini_racer import MiniRacer
from trained_networks import NETWORKS, trained

from datasets.images import read_image
from foundation.probabilities import softmax
from lab.exporting.formats import FORMATS
from lab.exporting.network import Contract, from_pixels
from lab.exporting.runtimes import run_web
from lab.exporting.web import FOLDER, write_web
from lab.exporting.web_program import code

SIZE = 18
NAMED = ["<b>wren</b>", "robin", "a class of a long name that has to be broken somewhere", "d", "e", "f", "g"]
CONTRACT = Contract("resnet20", {}, SIZE, NAMED, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4], temperature=2.0)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), "uint8")


def page_of(name, path):
    """Writes the page of a network; returns its network from pixels to logits."""
    family, options = NETWORKS[name]
    model = from_pixels(trained(family, SIZE, **options), CONTRACT)
    write_web(model, CONTRACT, path)
    return model


def logits_of(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def allowed(logits):
    return FORMATS["web"].tolerance * max(1.0, float(np.abs(logits).max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_javascript_of_the_page_computes_our_logits(name, tmp_path):
    logits = logits_of(page_of(name, tmp_path / "model.html"), IMAGES)
    assert np.abs(run_web(tmp_path / "model.html", IMAGES) - logits).max() <= allowed(logits)


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6))
def test_a_coded_kernel_is_off_by_half_a_step_at_most(seed, size):
    kernel = (np.random.default_rng(seed).standard_normal((3, 3, 4, 5)) * size).astype("float32")
    kernel[..., 0] = 0.0
    coded, steps = code(kernel)
    largest = np.abs(kernel).max((0, 1, 2))
    error = np.abs(coded * steps.astype("float64") - kernel).max((0, 1, 2))
    # half a step, and the rounding of the step itself to float32
    assert (error <= largest * (1 / 65534 + 2**-23)).all() and (coded[..., 0] == 0).all()


def test_pictures_become_the_pixels_that_pillow_makes():
    random = np.random.default_rng(0)
    sizes = [(12, 12, 8), (227, 227, 96), (50, 300, 32), (20, 17, 32), (96, 40, 96), (33, 96, 96), (13, 500, 13), (400, 199, 8)]
    with MiniRacer() as engine:
        for name in ("network", "pixels"):
            engine.eval((FOLDER / f"web_{name}.js").read_text(encoding="utf-8"))
        for height, width, size in sizes:
            picture = random.integers(0, 256, (height, width, 3), "uint8")
            wanted = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0))
            data = base64.b64encode(picture.tobytes()).decode()
            for channels, own in ((3, wanted), (1, np.asarray(Image.fromarray(wanted).convert("L")))):
                given = f"{{ size: {size}, channels: {channels} }}, {{ h: {height}, w: {width}, data: decodeBase64('{data}') }}"
                found = json.loads(str(engine.eval(f"JSON.stringify(Array.from(pixelsFor({given})))")))
                assert found == own.ravel().tolist(), (height, width, size, channels)


@pytest.fixture
def open_page(chromium, tmp_path):
    """Returns a function that opens a page in a window of a width. At the end the console must be empty, and nothing asked of a
    network."""
    contexts, faults = [], []

    def opened(path, width=1280):
        contexts.append(chromium.new_context(viewport={"width": width, "height": 900}, offline=True))
        tab = contexts[-1].new_page()
        note_faults(tab, faults, FILES)
        tab.goto(path.as_uri())
        tab.evaluate("classifier.ready")
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


@pytest.mark.browser
@pytest.mark.parametrize("name", NETWORKS)
def test_chromium_computes_our_logits(name, open_page, tmp_path):
    logits = logits_of(page_of(name, tmp_path / "model.html"), IMAGES)
    tab = open_page(tmp_path / "model.html")
    ask = "async pixels => Array.from((await classifier.ask({ pixels: Uint8Array.from(pixels) })).logits)"
    found = np.array([tab.evaluate(ask, image.ravel().tolist()) for image in IMAGES])
    assert np.abs(found - logits).max() <= allowed(logits)


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
def test_pictures_are_chosen_dropped_and_named_by_keyboard_too(width, open_page, tmp_path):
    model = page_of("the study's, with squeeze and excitation", tmp_path / "model.html")
    write_images(tmp_path, ("pictures",), 2, size=200)
    files = sorted((tmp_path / "pictures").iterdir())
    Image.new("RGBA", (300, 90), (10, 200, 30, 0)).save(tmp_path / "clear.png")  # transparent: white
    (tmp_path / "broken.png").write_bytes(b"no picture")
    tab = open_page(tmp_path / "model.html", width)
    # The browser's own dialog is not opened: that the key asks for it is what the page has to do.
    asks = "document.getElementById('choose-input').addEventListener('click', e => { e.preventDefault(); window.asked = true; })"
    tab.evaluate(asks)
    tab.get_by_role("button", name="Choose pictures").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_function("window.asked")
    tab.locator("#choose-input").set_input_files([*files, tmp_path / "broken.png", tmp_path / "clear.png"])
    tab.locator(".card").nth(3).wait_for()
    clear, broken, *cards = [tab.locator(".card").nth(i) for i in range(4)]
    assert "broken.png is no picture that this browser reads" in broken.inner_text()
    for file, card in zip([tmp_path / "clear.png", *reversed(files)], [clear, *cards], strict=True):
        shares = softmax(logits_of(model, read_image(file, SIZE)[None]) / CONTRACT.temperature)[0]
        assert card.locator("h2").inner_text() == NAMED[shares.argmax()]  # no markup comes of a name
        found = [float(text.removesuffix(" %")) for text in card.locator(".share").all_inner_texts()]
        np.testing.assert_allclose(found, 100 * np.sort(shares)[::-1][:5], atol=0.15)  # a digit, and the tolerance of logits
        assert file.name in card.inner_text() and " ms" in card.inner_text()
    assert "Checked in this browser" not in tab.locator("#status").inner_text() and " ms." in tab.locator("#status").inner_text()
    dropped = "async bytes => { const file = new File([Uint8Array.from(bytes)], 'dropped.png', { type: 'image/png' });"
    dropped += " const data = new DataTransfer(); data.items.add(file);"
    dropped += " document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, dataTransfer: data })); }"
    tab.evaluate(dropped, list(files[0].read_bytes()))
    tab.locator(".card", has_text="dropped.png").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.browser
def test_a_page_whose_weights_are_damaged_says_so_and_answers_nothing(chromium, tmp_path):
    page_of("basic blocks", tmp_path / "model.html")
    text = (tmp_path / "model.html").read_text(encoding="utf-8")
    head, kind, weights = text.partition('id="weights">')
    (tmp_path / "model.html").write_text(head + kind + "AAAA" * 200 + weights[800:], encoding="utf-8")
    context = chromium.new_context(offline=True)
    tab = context.new_page()
    tab.goto((tmp_path / "model.html").as_uri())
    tab.locator("#status", has_text="can't be used here").wait_for()
    assert tab.get_by_role("button", name="Choose pictures").is_disabled()
    context.close()
