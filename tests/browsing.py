"""The dashboard in Chromium: served by a process of its own, opened, and waited for until it is drawn."""

import contextlib
import os
import socket
import subprocess
import sys
import time

from conftest import ROOT
from playwright.sync_api import expect, sync_playwright

OPTIONS = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
PAGES = ("Runs", "One run", "Studies", "Explain", "Architecture")
PATIENCE = 600_000  # milliseconds; the first page imports everything
FILES = ("file:", "data:", "blob:", "about:")  # beginnings of addresses that no network is asked for
LOCAL = ("http://127.0.0.1:", *FILES)


@contextlib.contextmanager
def served(folder, home):
    """Yield the address of a dashboard that shows the runs of a folder, with a home folder of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "dashboard.py", "--output-dir", folder / "output", "--weights-dir", folder / "weights"]
    environment = os.environ | {"HOME": str(home)}
    server = subprocess.Popen(
        [*map(str, command), "--port", str(port)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        line = server.stdout.readline()
        assert line == f"the dashboard is at http://127.0.0.1:{port}; Ctrl-C ends it\n"
        _wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(600)


def _wait_until(condition, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@contextlib.contextmanager
def chromium_running():
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=OPTIONS)
        yield browser
        browser.close()


def note_faults(tab, faults, allowed=LOCAL):
    """Note errors on a tab's console, those of its scripts, and what it asks of addresses that do not begin as `allowed`."""
    tab.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    refuse_strangers(tab, faults, allowed)


def refuse_strangers(tab, asked, allowed=LOCAL):
    """Refuse what a tab asks of addresses that do not begin as `allowed`, and note it.

    Only what would leave the browser counts: sometimes there is a "request" event of what a page's policy refused.
    """
    tab.route(lambda address: not address.startswith(allowed), lambda route: (asked.append(route.request.url), route.abort()))


def wait_in(tab, condition, milliseconds=PATIENCE):
    """Wait for a condition that an event of the tab brings about."""
    for _ in range(0, milliseconds, 100):
        if condition():
            return
        tab.wait_for_timeout(100)
    raise AssertionError("waited in vain")


def open_page(tab, name):
    """Go to a page by its link."""
    link, heading = (tab.get_by_role(role, name=name, exact=True) for role in ("link", "heading"))
    click_until(tab, link.click, heading)
    settle(tab)


def click_until(tab, click, shown):
    """Click until an element is shown: Streamlit drops some clicks while a page still loads."""
    for _ in range(PATIENCE // 20_000):
        settle(tab)
        click()
        with contextlib.suppress(AssertionError):
            expect(shown).to_be_visible(timeout=20_000)
            break
    expect(shown).to_be_visible()


def settle(tab):
    """Wait until Streamlit has drawn everything."""
    expect(tab.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(tab.get_by_test_id("stSkeleton")).to_have_count(0)


def place_of(tab, element):
    """The box of an element on the page, once it no longer moves: what is above it may still be loading."""
    element.scroll_into_view_if_needed()
    box, before = element.bounding_box(), None
    while box != before:
        tab.wait_for_timeout(500)
        box, before = element.bounding_box(), box
    return box
