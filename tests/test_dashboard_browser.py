"""The dashboard in a real browser, as a person uses it: `make test-browser`."""

import json
import re
from dataclasses import replace

import pytest
from browsing import PAGES, PATIENCE, click_until, note_faults, open_page, place_of, served, settle, wait_in
from dashboard_runs import HISTORY, SPEED, a_picture, runs_in_every_state
from playwright.sync_api import expect

from foundation.settings import Config
from lab.runs.run import Run

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs in every state, and a study with a report."""
    folder = tmp_path_factory.mktemp("dashboard")
    with runs_in_every_state(folder):
        yield folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def address(folder, home):
    """Of a dashboard that shows the runs, in a process of its own and with an empty home."""
    with served(folder, home) as address:
        yield address


@pytest.fixture
def tab(chromium, address):
    """The first page, loaded. At the test's end the console must be empty of errors, and nothing have left the machine."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    tab, faults = context.new_page(), []
    tab.set_default_timeout(PATIENCE)
    note_faults(tab, faults)
    tab.goto(address)
    expect(tab.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    yield tab
    context.close()
    assert faults == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [1280, 400])
def test_every_page_loads_without_errors(tab, name, width):
    open_page(tab, name)
    tab.set_viewport_size({"width": width, "height": 900})
    settle(tab)
    expect(tab.get_by_test_id("stException")).to_have_count(0)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the window"


def test_a_click_on_a_cell_of_the_confusion_opens_its_images(tab, folder):
    confusion = json.loads((folder / "output/finished/metrics.json").read_text())["test"]["confusion"]
    open_page(tab, "One run")
    tab.get_by_role("combobox").first.click()
    tab.get_by_role("option", name="finished", exact=True).click()
    settle(tab)
    tab.get_by_text("Confusion", exact=True).first.click()
    settle(tab)
    grid = tab.get_by_test_id("stDataFrame").last
    column = grid.locator("canvas th").nth(1)  # the canvas' own description
    box = place_of(tab, grid.locator("canvas").first)
    expect(column).to_have_text("0")
    first = box["x"] + box["width"] / 11 * 1.5, box["y"] + 35 * 1.5  # the first class, named correctly
    click_until(tab, lambda: tab.mouse.click(*first), tab.get_by_text(f"{confusion[0][0]} images of 0 named correctly"))
    expect(tab.get_by_alt_text("an image of 0")).to_have_count(confusion[0][0])


def test_an_upload_is_explained_and_not_stored(tab, folder, home):
    open_page(tab, "Explain")
    tab.get_by_text("your own").click()
    before = set(folder.rglob("*"))
    tab.locator("input[type=file]").set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": a_picture()})
    expect(tab.get_by_text("the image, as the network gets it")).to_be_visible()
    expect(tab.get_by_alt_text("the map")).to_be_visible()
    settle(tab)
    assert set(folder.rglob("*")) == before and list(home.iterdir()) == []


def test_what_is_no_image_is_one_line(tab):
    open_page(tab, "Explain")
    tab.get_by_text("your own").click()
    tab.locator("input[type=file]").set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": b"none"})
    expect(tab.get_by_test_id("stAlert")).to_contain_text("can't be read as an image")


def test_the_curve_of_a_live_run_grows_by_itself(tab, folder):
    run = Run("growing", folder / "output", folder / "weights")
    config = replace(Config(), output_dir=str(folder / "output"), weights_dir=str(folder / "weights"), run="growing", epochs=5)
    with run.writing(config):
        for epochs in (1, 2):
            run.write_json("speed.json", {name: values[:epochs] for name, values in SPEED.items()})
            run.write_json("history.json", {name: values[:epochs] for name, values in HISTORY.items()})
            expect(tab.get_by_text(f"epoch {epochs} of 5")).to_be_visible()
            curve = tab.get_by_alt_text(f"accuracy of growing after {epochs} epoch{'s' if epochs > 1 else ''}")
            expect(curve).to_be_visible()
            assert curve.evaluate("image => image.naturalWidth") > 300
    expect(tab.get_by_text("epoch 2 of 5")).to_have_count(0)  # it has stopped


HARM = """<script>document.body.append("it ran")</script><img src="http://example.com/a.png">
<meta http-equiv=refresh content="0;url=http://example.com/b"><link rel=stylesheet href="http://example.com/c.css">
<form action="http://example.com/d"><button>go</button></form><a href="http://example.com/e" target=_top>away</a>"""
# What Chromium says of each part of HARM that it refuses.
REFUSALS = ("Blocked script execution", "Refused to execute the redirect", "Loading the image", "Loading the stylesheet")
REFUSALS += ("Blocked form submission", "navigation of the top-level window is sandboxed")


def test_a_report_runs_no_script_and_fetches_nothing(chromium, address, folder):
    report = folder / "output/studies/depth/report.html"
    before = report.read_text()
    report.write_text(before + HARM)
    tab, said, failed = chromium.new_page(), [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("requestfailed", lambda request: failed.append(request.failure))
    tab.on("requestfinished", lambda request: failed.append(request.url) if "example.com" in request.url else None)
    tab.goto(address)
    open_page(tab, "Studies")
    frame = tab.frame_locator("iframe").frame_locator("iframe")
    expect(frame.get_by_text("Do more layers help?")).to_be_visible()
    frame.get_by_text("go", exact=True).click()
    frame.get_by_text("away").click()
    wait_in(tab, lambda: all(any(refusal in text for text in said) for refusal in REFUSALS))
    expect(frame.get_by_text("it ran")).to_have_count(0)
    expect(tab.get_by_role("heading", name="Studies", exact=True)).to_be_visible()  # nobody has left the page
    assert {*failed} <= {"csp"}  # the policy kept it in, not a lacking network
    tab.close()
    report.write_text(before)


def test_marked_rows_are_compared_in_charts(tab):
    settle(tab)
    table = tab.get_by_test_id("stDataFrame").first
    for row in (2, 3):  # the table is a canvas: boxes to mark rows stand at its left, 35 pixels a row
        table.click(position={"x": 16, "y": 35 * (row + 0.5)})
        settle(tab)
    expect(tab.get_by_role("heading", name="Training curves compared")).to_be_visible()
    charts = tab.get_by_test_id("stVegaLiteChart")
    expect(charts).to_have_count(2)
    chart, dot = charts.first, charts.first.locator(".role-mark.mark-symbol path").first
    place_of(tab, chart)
    dot.hover()
    expect(tab.locator("#vg-tooltip-element")).to_have_text(re.compile("^run.+split(val|train).*epoch1accuracy"))
    ticks = chart.locator(".role-axis-label text")
    before = ticks.all_text_contents()
    tab.mouse.wheel(0, -400)
    wait_in(tab, lambda: ticks.all_text_contents() != before)
    chart.dblclick(position={"x": 250, "y": 200})
    wait_in(tab, lambda: sorted(ticks.all_text_contents()) == sorted(before))


def test_a_click_on_a_block_shows_its_parts(tab):
    open_page(tab, "Architecture")
    expect(tab.get_by_alt_text("the steps of stage1_block1")).to_be_visible()
    tab.get_by_role("radio", name="2.1", exact=True).click()
    expect(tab.get_by_alt_text("the steps of stage2_block1")).to_be_visible()
    expect(tab.get_by_test_id("stMetric").last).to_have_text("MACs of the block3,670,016")


def test_runs_have_an_address_of_their_own_and_an_unknown_run_is_said(chromium, address):
    tab = chromium.new_page()  # Streamlit looks for its files below the path first, which the console calls faults
    tab.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    tab.goto(f"{address}/runs")
    expect(tab.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    settle(tab)
    expect(tab.get_by_text("Page not found")).to_have_count(0)
    tab.goto(f"{address}/run?run=finishd")
    expect(tab.get_by_test_id("stAlert").first).to_contain_text("did you mean 'finished'")
    tab.close()
