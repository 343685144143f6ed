"""README.md and the manual in docs/: every command parses, every link leads somewhere, every generated part is current."""

import importlib
import importlib.util
import re
import shlex
from argparse import ArgumentParser
from fnmatch import fnmatch
from functools import cache
from types import SimpleNamespace

import pytest
from conftest import ROOT

import dispatcher
from datasets.catalog import check_name
from foundation.flags import read_config, read_setting
from foundation.settings import SETTINGS
from lab import studies
from lab.exporting.formats import FORMATS
from lab.manual.parts import PART
from lab.reports.pictures import PICTURES
from lab.studies import factorial
from lab.studies.asked import compare
from lab.studies.search import Range, study_of_winner

README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, *DOCS]
LINKED = [*PAGES, ROOT / "RESULTS.md"]
SCRIPTS = ("evaluate", "study", "visualize", "explain", "benchmark", "export", "predict", "dashboard", "audit", "dispatcher")
OF_TORCHRUN = {"--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint", "--max-restarts"}
COMMAND = re.compile(r"([A-Z_]+=\S+ )*(python|make|torchrun|pip|bash|source) .*")


def name_of(page):
    return page.name


@cache
def text_of(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)


def prose(page):
    """The text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def code_spans(page):
    return re.findall(r"`([^`\n]+)`", PART.sub("", prose(page)))


def commands(page):
    """Every command of a page, as a list of words."""
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += filter(COMMAND.fullmatch, code_spans(page))
    for line in lines:
        words = shlex.split(line, comments=True)
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        if words:
            yield words


def is_placeholder(word):
    """Return whether a reader replaces the word, as in `--model MODEL`."""
    return word.isupper()


class Parsed(Exception):
    """Ends a script where it has read its flags."""


@pytest.fixture
def parse(monkeypatch):
    """Returns a function that runs a module's `main` until it has read its flags, and returns them."""
    original = ArgumentParser.parse_args

    def parse_args(parser, args=None, namespace=None):
        raise Parsed(original(parser, args, namespace))

    def parsed(module, words):
        monkeypatch.setattr("sys.argv", [module, *words])
        with monkeypatch.context() as patch, pytest.raises(Parsed) as found:
            patch.setattr(ArgumentParser, "parse_args", parse_args)
            importlib.import_module(module).main()
        return found.value.args[0]

    return parsed


def check_training(words):
    """Settings are allowed, also together, and data set and network exist."""
    config = read_config([word for word in words if word != "..."])
    check_name(config.dataset)
    if not is_placeholder(config.model):
        dispatcher.check_model(config)


# {name on the command line of study.py: function from its arguments to the Study that they ask for}
ASKING = {
    "compare": lambda arguments: compare(arguments.arm)[1],
    "factorial": lambda arguments: factorial.asked(arguments.factor, arguments.fraction)[1],
    "search": lambda arguments: study_of_winner({"n": 1}, SimpleNamespace(ranges=list(map(Range.of, arguments.over)))),
}


def check_study(arguments):
    if getattr(arguments, "runs", None):  # names of the reader's own runs
        return
    if arguments.name and not is_placeholder(arguments.name):
        study = ASKING[arguments.name](arguments) if arguments.name in ASKING else studies.find(arguments.name)
        arms = [arm.name for arm in study.arms_at(arguments.scale or study.usual_scale)]
        assert all(any(fnmatch(arm, wildcard) for arm in arms) for wildcard in arguments.arms)
    for setting in arguments.set:
        assert setting == "NAME=VALUE" or read_setting(setting)


def check_models(patterns):
    assert all(is_placeholder(pattern) or dispatcher.list_models(pattern) for pattern in patterns)


def check_figure(arguments):
    assert arguments.figure in (*PICTURES, "all", "FIGURE", None)


# {script: what must be true of its arguments besides their being read}
CHECKS = {
    "study": check_study,
    "visualize": check_figure,
    "export": lambda arguments: set(arguments.formats.split(",")) <= FORMATS.keys() or pytest.fail(arguments.formats),
    "benchmark": lambda arguments: check_models(getattr(arguments, "models", [])),
    "dispatcher": lambda arguments: check_models([arguments.pattern]),
}


def check_python(words, parse):
    """The word after `python` is a script of ours, or a module, whose parser takes the rest."""
    if words[:2] == ["-m", "pytest"]:
        return
    if words[0] == "-m":
        is_package = words[1] == "venv" or importlib.util.find_spec(words[1]).submodule_search_locations
        assert words[1:] == ["venv", ".venv"] or parse(f"{words[1]}.__main__" if is_package else words[1], words[2:])
        return
    script = words[0].removesuffix(".py")
    assert script == "train" or script in SCRIPTS
    if "--help" in words:
        return
    if script == "train":
        check_training(words[1:])
    else:
        CHECKS.get(script, lambda arguments: None)(parse(script, words[1:]))


def check_make(words):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    called = [word for word in words if "=" not in word]
    assert set(called) <= set(targets) and variables.keys() <= {"ARGS", "PYTHON", "DATA"}
    if called == ["train"]:
        check_training(shlex.split(variables.get("ARGS", "")))
    for word in shlex.split(variables.get("ARGS", "")):
        assert not word.startswith("tests/") or (ROOT / word).is_file()


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "docs/lessons").glob("*.md"))], ids=name_of)
def test_every_command_parses(page, parse):
    for words in commands(page):
        program, *rest = [word for word in words if not re.fullmatch(r"[A-Z_]+=\S+", word) or words[0] == "make"]
        if program == "torchrun":
            cut = rest.index("--")
            assert {word for word in rest[:cut] if word.startswith("-")} <= OF_TORCHRUN
            program, rest = "python", rest[cut + 1 :]
        if re.fullmatch(r"(\.venv/bin/)?python[\d.]*", program):
            check_python(rest, parse)
        elif program == "make":
            check_make(rest)
        elif program.endswith("pip"):
            assert rest[:2] == ["install", "-r"] and (ROOT / rest[2]).is_file()
        else:
            assert (program, rest[0]) in (("source", ".venv/bin/activate"), ("tar", "xzf")) or rest[0].startswith("output/"), (
                shlex.join(words)
            )


@pytest.fixture(scope="module")
def flags():
    """Every flag of every script."""
    found = set(OF_TORCHRUN)
    add_argument = ArgumentParser.add_argument

    def record(parser, *names, **options):
        found.update(name for name in names if name.startswith("--"))
        return add_argument(parser, *names, **options)

    def parse_args(parser, args=None, namespace=None):
        found.update(re.findall(r"--[a-z][\w-]*", parser.format_help()))  # also those of groups
        raise Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArgumentParser, "add_argument", record)
        patch.setattr(ArgumentParser, "parse_args", parse_args)
        for script in SCRIPTS:
            with pytest.raises(Parsed):
                importlib.import_module(script).main()
    for name, setting in SETTINGS.items():
        flag = name.replace("_", "-")
        found |= {f"--{flag}", f"--no-{flag}"} if setting.type is bool else {f"--{flag}"}
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_flag_that_is_named_exists(page, flags):
    named = {match[0] for span in code_spans(page) for match in re.finditer(r"(?<!\S)--[a-z][\w-]*", span)}
    assert named - flags <= {"--lr", "--bs"}  # which settings.md names as those of other programs


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_of_the_manual_runs(page):
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), {})


def anchors(page):
    """The anchors that GitHub gives the headings of a page."""
    found = []
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return found


def links(page):
    """(file, anchor) of every link and picture that leads to a file."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not target.startswith("https://"):
            file, _, anchor = target.partition("#")
            yield (page.parent / file).resolve() if file else page, anchor


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_every_link_and_picture_is_there(page):
    for file, anchor in links(page):
        assert file.exists() and ROOT.resolve() in file.parents, file
        assert not anchor or anchor in anchors(file), f"{file.name}#{anchor}"


def test_every_page_and_picture_is_reached_from_the_readme():
    reached, ahead = set(), {README.resolve()}
    while ahead:
        reached |= ahead
        ahead = {file for page in ahead if page.suffix == ".md" for file, _ in links(page)} - reached
    assert {*DOCS, *(ROOT / "docs").rglob("*.png")} <= reached


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_a_page_begins_with_an_example(page):
    opening = text_of(page).partition("\n## ")[0]
    assert opening.startswith("# ") and ("\n```sh\n" in opening or page.name in ("glossary.md", "CHANGELOG.md"))
