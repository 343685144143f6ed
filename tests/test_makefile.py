"""The words of `make` while it installs: a line that counts for who watches, two lines for a log, and nothing the second time."""

import os
import pty
import shutil
import subprocess

import pytest
from conftest import ROOT

# `make test` hands its own state to what it starts: a make below it would say which folder it enters.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}

PIP = """#!/bin/sh
for name in a b c; do echo "Collecting $name"; done
test ! -e is-broken || { echo "ERROR: no such package"; exit 1; }
"""
TARGET = ".venv/.installed"


@pytest.fixture
def folder(tmp_path):
    """The Makefile beside a Python whose pip finds three packages."""
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(PIP)
    python.chmod(0o755)
    return tmp_path


def make(folder):
    return subprocess.run(["make", TARGET], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)


def test_a_log_has_one_line_at_the_start_and_one_at_the_end(folder):
    process = make(folder)
    assert process.stdout.splitlines() == [
        "installing requirements.txt, log in .venv/install.log",
        "requirements.txt: 3 packages",
    ]
    assert "Collecting c" in (folder / ".venv/install.log").read_text()
    assert "requirements" not in make(folder).stdout


def test_a_terminal_has_one_line_that_counts(folder):
    reader, terminal = pty.openpty()
    subprocess.run(["make", TARGET], cwd=folder, env=ENVIRONMENT, stdout=terminal, check=True)
    os.close(terminal)
    shown = os.read(reader, 10_000).decode()
    os.close(reader)
    assert shown.count("\n") == 1 and shown.rstrip().endswith("install.log: 3 packages") and shown.count("\r") > 3


def test_what_pip_failed_of_is_shown_and_tried_again(folder):
    (folder / "is-broken").touch()
    process = make(folder)
    assert process.returncode and "ERROR: no such package" in process.stdout
    (folder / "is-broken").unlink()
    assert make(folder).returncode == 0 and (folder / TARGET).exists()
