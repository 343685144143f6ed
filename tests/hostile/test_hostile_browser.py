"""Names and reports of strangers in Chromium: everywhere they are text, and nothing that they say is done."""

import shutil

import pytest
from browsing import PAGES, PATIENCE, open_page, refuse_strangers, served, settle
from markdown_it import MarkdownIt
from planting import PARTS, changed_json, settings_in
from playwright.sync_api import expect

from foundation.settings import Config
from lab.explanations.gallery import Gallery
from lab.explanations.network import Network
from lab.exporting.card import write_card
from lab.exporting.network import Contract
from lab.reports.page import page
from lab.runs.run import Run
from lab.training.experiment import train

pytestmark = pytest.mark.browser

# Names of folders, which hold no slash; browsers take a backslash in an address for one.
SCRIPT = r"<img src=\\example.com\a onerror=alert(1)>"
LINK = r"[a](javascript:alert(1)) ![b](http:\\example.com\b.png) www.example.com :red[c] $x$"
META = r"<meta http-equiv=refresh content=0;url=\\example.com><form action=\\example.com><input>"
HARM = f"<script>alert(1)</script>{SCRIPT}{META}"
# What must not come of a name: an element of this kind on a page.
DONE = "[onerror], [href*='example.com'], [href^='javascript:'], [src*='example.com'], [action*='example'], [http-equiv=refresh]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, image_folder):
    """Runs and a study whose names are markup, on data whose classes are; what they record is markup too."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copytree(image_folder, folder / "images")
    for name, other in (("dark", SCRIPT), ("grey", LINK), ("light", META)):
        for split in ("train", "test"):
            (folder / "images" / split / name).rename(folder / "images" / split / other)
    given = {"image_size": 8, "n": 1, "epochs": 1, "batch_size": 32, "run": "r", "dataset": f"folder:{folder / 'images'}"}
    assert train(Config(**settings_in(folder, track_gradients=True, **given))) == 0
    for name in (SCRIPT, LINK, "broken"):
        shutil.copytree(folder / "output/r", folder / "output" / name)
        shutil.copytree(folder / "weights/r", folder / "weights" / name)
    changed_json(folder / "output/broken/config.json", "model", value=[HARM])
    for name in (SCRIPT, LINK):
        changed_json(folder / "output" / name / "environment.json", "device", value=HARM + LINK + "http://example.com")
        changed_json(folder / "output" / name / "flow.json", "layers", 0, value=HARM)
    study = folder / "output/studies" / META
    shutil.copytree(folder / "output/r", study / "runs" / LINK)
    (study / "report.html").write_text(HARM)
    return folder


@pytest.fixture(scope="module")
def address(folder, tmp_path_factory):
    with served(folder, tmp_path_factory.mktemp("home")) as address:
        yield address


@pytest.fixture
def tab(chromium):
    """A tab in which nothing asks a host, runs a stranger's script or leaves the page, until the test's end."""
    tab, faults = chromium.new_page(), []
    refuse_strangers(tab, faults)
    tab.set_default_timeout(PATIENCE)
    tab.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    yield tab
    tab.wait_for_timeout(300)
    tab.close()
    assert faults == []


def test_words_that_are_not_escaped_would_be_found(chromium):
    tab, asked = chromium.new_page(), []
    refuse_strangers(tab, asked)
    tab.route("http://127.0.0.1:1/", lambda route: route.fulfill(body=SCRIPT, content_type="text/html"))
    tab.on("dialog", lambda dialog: dialog.dismiss())
    tab.goto("http://127.0.0.1:1/")
    expect(tab.locator(DONE)).not_to_have_count(0)
    assert "http://example.com/a" in asked
    tab.close()


def assert_harmless(tab):
    expect(tab.locator(DONE)).to_have_count(0)
    expect(tab.get_by_test_id("stException")).to_have_count(0)


@pytest.mark.parametrize("name", PAGES)
def test_no_page_does_what_a_name_says(tab, address, name):
    tab.goto(address)
    open_page(tab, name)
    assert_harmless(tab)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("run", [SCRIPT, LINK], ids=["HTML", "Markdown"])
def test_no_part_of_a_run_does_what_its_words_say(tab, address, run, part):
    tab.goto(address)
    open_page(tab, "One run")
    choice = tab.get_by_role("combobox").first
    choice.click()
    tab.get_by_role("option", name=run, exact=True).click()
    settle(tab)
    tab.get_by_text(part, exact=True).first.click()
    settle(tab)
    assert_harmless(tab)


def test_pages_of_explain_show_names_as_text(tab, folder):
    run = Run.find("r", folder / "output", folder / "weights")
    index = Gallery([Network.of(run)], "predicted", HARM).show_classes([SCRIPT, LINK, META], 1, 2)
    for path in [index, *index.parent.glob("class-*.html")]:
        tab.goto(path.as_uri())
        expect(tab.locator(DONE)).to_have_count(0)
    tab.goto(index.as_uri())
    for name in (SCRIPT, LINK, META):
        expect(tab.get_by_text(name, exact=True).first).to_be_visible()


def test_a_report_shows_words_as_text(tab, tmp_path):
    words = HARM + LINK
    blocks = [("heading", words), ("text", words), ("code", words), ("list", [words]), ("table", [[words], [words]])]
    (tmp_path / "report.html").write_text(page(words, [*blocks, ("heading", words), ("pictures", {words: b""})]))
    tab.goto((tmp_path / "report.html").as_uri())
    expect(tab.locator(DONE)).to_have_count(0)
    assert tab.get_by_text("alert(1)").count() >= 6


def test_a_card_shows_names_as_text(tab, folder, tmp_path):
    for name in (SCRIPT, LINK):
        run = Run.find(name, folder / "output", folder / "weights")
        write_card(tmp_path, run, Contract.of(run), {"safetensors": 0.0})
        card = MarkdownIt("commonmark", {"html": True}).enable("table").render((tmp_path / "MODEL_CARD.md").read_text())
        (tmp_path / "card.html").write_text(card)
        tab.goto((tmp_path / "card.html").as_uri())
        expect(tab.locator(DONE)).to_have_count(0)
        expect(tab.get_by_text(SCRIPT).first).to_be_visible()
