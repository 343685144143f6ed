"""The film of a run in Chromium: the slider moves every panel, by mouse, keyboard and by itself."""

import pytest
from browsing import note_faults, wait_in
from playwright.sync_api import expect

from callbacks.film import Film
from foundation.checks import checked
from lab.reports.film import write_film
from lab.reports.finished import find_finished
from lab.reports.pictures import Options
from lab.training.experiment import train

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    places = {"output_dir": str(folder / "output"), "weights_dir": str(folder / "weights"), "run": "r", "film": True}
    small = {"model": "resnet6n2", "n": 1, "image_size": 8, "images_per_class": 12, "epochs": 3}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Film, "share", 1e9)
        assert train(checked(small | places)) == 0
    (run,) = find_finished(["r"], folder / "output")
    (folder / "film.html").write_bytes(write_film([run], Options())["html"])
    return folder / "film.html"


@pytest.mark.parametrize("width", [1280, 400])
def test_the_slider_shows_every_epoch(chromium, page, width):
    tab, faults = chromium.new_page(viewport={"width": width, "height": 900}), []
    note_faults(tab, faults)
    tab.goto(page.as_uri())
    now, slider = tab.locator("#now"), tab.get_by_label("epoch")
    expect(now).to_contain_text("epoch 3")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the window"
    slider.focus()
    tab.keyboard.press("Home")
    expect(now).to_have_text("before training")
    expect(tab.locator("#maps img").first).to_have_attribute("alt", "map, before training")
    first = tab.locator("#filters").get_attribute("src")
    expect(tab.locator("#way")).to_contain_text("0 % of the way")
    tab.keyboard.press("ArrowRight")
    expect(now).to_contain_text("epoch 1, val")
    assert tab.locator("#filters").get_attribute("src") != first
    assert tab.locator("#filters").evaluate("image => image.naturalWidth") > 0
    assert tab.locator("#gradients circle").count() > 0
    tab.get_by_role("button", name="play").click()
    wait_in(tab, lambda: "epoch 3" in now.inner_text())
    expect(tab.get_by_role("button", name="play")).to_be_visible()  # it has stopped at the end
    assert faults == []
    tab.close()
