"""The manual's pages: generated parts are current, every room, word and file is described."""

import re
from functools import cache

import pytest
from conftest import ROOT

import dispatcher
from lab.manual.models_table import models_table
from lab.manual.parts import PART, PARTS, renewed

README = ROOT / "README.md"

DOCS = sorted((ROOT / "docs").glob("*.md"))

PAGES = [README, *DOCS]


@cache
def text_of(page):
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_parts_are_current(page):
    """Networks of 20 layers are counted and the names of all compared: to count all takes a minute."""
    assert renewed(text_of(page), {name: part for name, part in PARTS.items() if name != "models"}) == text_of(page)


def test_the_table_of_networks_is_current():
    lines = text_of(ROOT / "docs" / "models.md").partition("<!-- generated: models -->\n")[2].splitlines()
    rows = {line.split("`")[1]: line for line in lines[2:-1]}
    assert list(rows) == dispatcher.list_models()
    heading, rule, *counted = models_table(names := dispatcher.list_models("*20")).splitlines()
    assert lines[:2] == [heading, rule] and counted == [rows[name] for name in names]


def test_every_generated_part_stands_on_a_page():
    assert {match[1] for page in PAGES for match in PART.finditer(text_of(page))} == PARTS.keys()


def section(page, heading):
    return text_of(page).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_readme_is_a_front_page():
    written = re.sub("<!-- generated: scoreboard -->.*?<!-- end -->", "", README.read_text(), flags=re.DOTALL)
    assert len(written.encode()) <= 7_300  # the scoreboard grows with the claims that are answered
    assert len(re.findall(r"^\| [^|]+ \| `python ", section(README, "Every day"), re.MULTILINE)) == 8


def test_the_plan_of_the_house_names_every_room():
    table = re.findall(r"^\|.*", section(README, "How it is built"), re.MULTILINE)
    named = set(re.findall(r"`([^`]+)`", "".join(table)))
    rooms = [path.parent.relative_to(ROOT) for folder in ("*", "lab/*") for path in ROOT.glob(f"{folder}/__init__.py")]
    assert named == {f"{room}/" for room in rooms if str(room) != "lab"} | {path.name for path in ROOT.glob("*.py")}


def test_the_glossary_says_each_word_in_two_sentences_with_a_link():
    entries = re.findall(r"^### (.+)\n\n((?:.+\n)+)", text_of(ROOT / "docs" / "glossary.md"), re.MULTILINE)
    words = [word for word, _ in entries]
    assert words == sorted(words, key=str.lower)
    for word, text in entries:
        assert len(re.findall(r"[.](?= [A-Z`\[]|$)", " ".join(text.split()))) == 2 and "](" in text, word


def test_the_files_of_a_run_are_listed():
    listed = set(re.findall(r"`([\w.-]+)`", text_of(ROOT / "docs" / "runs.md")))
    assert {path.name for path in (ROOT / "tests" / "run_of_0_1").rglob("*.*") if path.parent.name != "run_of_0_1"} <= listed
