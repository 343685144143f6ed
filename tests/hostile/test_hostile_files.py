"""The one place that reads files of a run, the one that writes them, and the words of strangers in every format."""

import csv
import html.parser
import io
import json
import os
import stat
import subprocess
import sys

import pytest
from conftest import ROOT
from hypothesis import example, given, settings
from hypothesis import strategies as st
from planting import pipe
from words_of_strangers import MARKUP, json_values, rendered, words

from foundation import files
from foundation.errors import UserError, one_line
from foundation.escaping import code_for_markdown, for_csv, for_html, for_markdown
from lab.exporting.predict import as_csv

DEEP = b"[" * 100_000 + b"]" * 100_000
REFUSED = [b"", b"{", b"\xff\xfe\x00", b"nan", b"NaN", b"[Infinity]", b"[-Infinity]", b"1e999", b"-1e999", DEEP, DEEP[:99_999]]
REFUSED += [b"1" + b"0" * 400, b"-1" + b"0" * 40, b"9223372036854775808", b"1" * 5000, b"[" * 40 + b"]" * 40]
REFUSED += [b'{"a":' * 40 + b"1" + b"}" * 40, b"\x80abc", "\u0661".encode(), b"'a'", b"{1: 2}", b"[1,]", b"0x10", b"01", b"--1"]
REFUSED += [b'"\n"', b"[1] [2]", b"\0"]


@pytest.mark.parametrize("data", REFUSED, ids=lambda data: repr(data[:12]))
def test_json_that_no_run_writes_is_one_line(tmp_path, data):
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(UserError) as caught:
        files.read_json(tmp_path / "x.json")
    assert "x.json can't be read" in str(caught.value) and len(one_line(caught.value)) < 2100


@settings(max_examples=300)
@given(st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
def test_any_bytes_are_a_value_of_finite_numbers_or_refused(data):
    try:
        value = files.parse_json(data)
    except ValueError:
        return
    json.dumps(value, allow_nan=False)


@settings(max_examples=200)
@given(json_values)
def test_json_that_a_run_may_write_is_read_as_it_was_written(value):
    assert files.parse_json(json.dumps(value)) == value


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "nothing", "link to a device", "large"])
def test_only_regular_files_of_a_size_are_read(tmp_path, kind):
    path = tmp_path / "history.json"
    if kind == "pipe":
        pipe(path)
    elif kind == "folder":
        path.mkdir()
    elif "device" in kind:
        path.symlink_to("/dev/zero" if kind == "device" else "/proc/self/fd/0")
    elif kind == "large":
        with open(path, "wb") as file:
            file.truncate(files.LARGEST + 1)
    with pytest.raises(UserError, match=r"history\.json can't be read"):
        files.read_json(path)


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_what_is_written_follows_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        files.write_whole(tmp_path, "file", b"data")
        with files.temporary_folder(tmp_path) as work:
            work.rename(tmp_path / "folder")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~umask


# Dies while it writes a file and a folder; another process goes on with both meanwhile.
KILLED = """
import os, sys
from foundation import files
from pathlib import Path
with files.temporary_folder(sys.argv[1]) as work:
    (work / "half").write_text("half")
    os.replace = lambda *_: (print("writing", flush=True), sys.stdin.read(), os.kill(os.getpid(), 9))
    files.write_whole(Path(sys.argv[1]), "file", b"half")
"""


def test_leftovers_of_a_killed_process_are_removed_and_work_under_way_is_not(tmp_path):
    program = [sys.executable, "-c", KILLED, str(tmp_path)]
    how = {"cwd": ROOT, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(program, **how) as process:
        assert process.stdout.readline() == "writing\n"
        files.write_whole(tmp_path, "other", b"whole")
        assert len(list(tmp_path.glob(".writing-*"))) == 2  # somebody is at them
        process.communicate("")
    assert process.returncode == -9 and len(list(tmp_path.glob(".writing-*"))) == 2
    files.write_whole(tmp_path, "other", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_leftover_that_is_a_link_is_removed_and_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.writing-0123456789abcdef").symlink_to(tmp_path / "precious")
    os.mkfifo(tmp_path / "run/.writing-0123456789abcdee")
    files.remove_leftovers(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == [] and (tmp_path / "precious/file").exists()


@pytest.mark.parametrize("planted", ["open to all", "a link", "a file"])
def test_a_private_folder_that_others_planted_is_not_used(tmp_path, monkeypatch, planted):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    usual = tmp_path / f"reslab-{os.geteuid()}"
    (tmp_path / "theirs").mkdir(mode=0o700)
    if planted == "a link":
        usual.symlink_to(tmp_path / "theirs")
    elif planted == "a file":
        usual.touch()
    else:
        usual.mkdir()
        usual.chmod(0o777)
    folder = files.private_folder()
    assert folder != str(usual) and stat.S_IMODE(os.stat(folder).st_mode) == 0o700


def test_a_private_folder_of_another_user_is_not_used_and_ones_own_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    first = files.private_folder()
    assert files.private_folder() == first
    theirs = os.stat_result((0o040700, 0, 0, 0, os.geteuid() + 1, 0, 0, 0, 0, 0))
    monkeypatch.setattr(files.os, "lstat", lambda path: theirs)
    assert files.private_folder() != first


def test_code_compiled_for_some_processors_is_kept_apart(tmp_path, monkeypatch):
    """Torch would take code of a vector unit for a program that ATEN_CPU_CAPABILITY forbids to use it, and fail to compile it."""
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    folders = set()
    for capability in (None, "default", "avx2"):
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
        monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
        if capability:
            monkeypatch.setenv("ATEN_CPU_CAPABILITY", capability)
        files.keep_libraries_private()
        folders.add(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert len(folders) == 3 and {os.path.dirname(folder) for folder in folders} == {files.private_folder()}


@settings(max_examples=300)
@given(words)
@pytest.mark.parametrize("begins_line", [False, True])
def test_words_are_shown_as_they_are_in_markdown(begins_line, text):
    before = "" if begins_line else "x "
    kinds, _ = rendered(before + for_markdown(text, begins_line) + " x")
    assert kinds <= {"paragraph_open", "inline", "text", "text_special", "paragraph_close"}, text
    kinds, _ = rendered(f"| {for_markdown(text)} | b |\n|---|---|\n| {for_markdown(text)} | d |")
    assert not kinds & {"link_open", "image", "html_inline", "em_open", "strong_open", "code_inline", "s_open"}, text


for text in MARKUP:
    test_words_are_shown_as_they_are_in_markdown = example(text)(test_words_are_shown_as_they_are_in_markdown)


@settings(max_examples=200)
@given(words)
def test_words_are_shown_as_they_are_in_a_code_span(text):
    kinds, _ = rendered("x " + code_for_markdown(text) + " x")
    assert not kinds & {"link_open", "image", "html_inline", "em_open", "strong_open", "s_open"}, text
    assert "code_inline" in kinds


@settings(max_examples=200)
@given(words)
def test_words_are_shown_as_they_are_in_html(text):
    class Reader(html.parser.HTMLParser):
        tags, shown = [], ""

        def handle_starttag(self, tag, attributes):
            self.tags = [*self.tags, (tag, [name for name, _ in attributes])]

    reader = Reader()
    reader.feed(f'<p title="{for_html(text)}">{for_html(text)}</p>')
    assert reader.tags == [("p", ["title"])]


@settings(max_examples=200)
@given(st.text(st.sampled_from("=+-@ \t\r\n\"',a1|!")) | st.text(max_size=20))
def test_no_cell_of_a_table_is_computed(text):
    _, row = csv.reader(io.StringIO(as_csv([(text, [(text, 0.5)])], 1).decode(), newline=""))
    for cell in (row[0], row[1], for_csv(text)):
        assert not cell.strip() or (cell[:1] not in "\t\r" and cell.lstrip()[:1] not in ("=", "+", "-", "@"))
    assert for_csv(-1.5) == -1.5


@given(st.text(max_size=5000))
def test_an_error_is_one_line_that_steers_no_terminal(text):
    line = one_line(UserError(text))
    assert len(line) <= 2100 and all(c.isprintable() or c in "\u200c\u200d" for c in line)
    line.encode()
