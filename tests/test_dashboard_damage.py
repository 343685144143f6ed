"""The dashboard with many runs, damaged files, a taken port and strangers' words."""

import pytest
from conftest import run_python
from dashboard_pages import page
from dashboard_runs import HISTORY, SPEED, settings, write_run

from lab.panels.elements import verbatim
from lab.panels.records import Folders, find_records
from lab.runs.run import Run


def test_many_runs_are_read_once(tmp_path, monkeypatch):
    for i in range(200):
        write_run(tmp_path / "output", f"run-{i:03d}", config=settings(tmp_path, seed=i), history=HISTORY, speed=SPEED)
    read = []
    original = Run.read_json
    monkeypatch.setattr(Run, "read_json", lambda run, name: read.append((run.name, name)) or original(run, name))
    table = page("runs", tmp_path).dataframe[0].value
    assert list(table["seed"]) == list(range(200)) and len(read) == 3 * 200
    (tmp_path / "output/run-007/history.json").write_text("{")
    assert page("runs", tmp_path).dataframe[0].value["state"][7] == "broken"
    assert len(read) == 3 * 200 + 2


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config", {"epochs": 3, "moddel": "resnet20"}),
        ("config", []),
        ("history", []),
        ("history", {"loss": [1.0]}),
        ("history", HISTORY | {"val_loss": [1.0]}),
        ("history", HISTORY | {"loss": ["<script>", 1.0]}),
        ("speed", {"epoch": [1]}),
        ("metrics", {"val": 3}),
    ],
)
def test_a_damaged_file_breaks_only_its_run(tmp_path, file, content):
    files = {"config": settings(tmp_path), "history": HISTORY, "speed": SPEED}
    write_run(tmp_path / "output", "damaged", **files | {file: content})
    write_run(tmp_path / "output", "sound", **files)
    damaged, sound = find_records(Folders(str(tmp_path / "output")))
    assert damaged.state == "broken" and f"{file}.json" in damaged.fault
    assert sound.state == "stopped" and not page("runs", tmp_path).exception


def test_an_empty_folder_is_no_error(tmp_path):
    for name in ("runs", "one_run", "studies", "explain"):
        assert page(name, tmp_path).info


def test_words_of_strangers_are_no_markdown():
    assert verbatim("![a](b) <b>\n*c*") == r"\!\[a\]\(b\) \<b\> \*c\*"


def test_a_taken_port_is_one_line():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = run_python("dashboard.py", "--port", taken.getsockname()[1])
    assert ended.returncode == 2 and "--port" in ended.stderr and len(ended.stderr.splitlines()) == 1
