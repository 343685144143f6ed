"""Studies within a time limit: how many runs at once, what is published, what goes on later."""

import io
import json
import sys
import tarfile
import time
from dataclasses import asdict, replace

import pytest
from processes import Run

from foundation.errors import UserError
from foundation.settings import Config
from lab.engines.fleet import Planned
from lab.studies import evidence
from lab.studies.evidence import best, data_of, measure, pack, unpack


class Machine:
    """An engine whose runs finish an epoch at every look, and see so many images a second together, by their number."""

    def __init__(self, together, asked):
        self.together, self.asked = together, asked

    def __call__(self, jobs):
        self.asked.append(jobs)
        self.speed = self.together[jobs] / jobs
        return self

    def start(self, planned):
        planned.run.write_json("config.json", asdict(planned.config))
        planned.run.write_json("history.json", {"epoch": [1, 2]})
        planned.run.write_json("speed.json", {"epoch": [1, 2], "images_per_second": [1.0, self.speed]})
        return Process()


class Process:
    returncode = None

    def poll(self):
        return self.returncode

    def terminate(self):
        self.returncode = 143

    def wait(self):
        return self.returncode


def runs_in(folder, count):
    places = {"output_dir": str(folder / "o"), "weights_dir": str(folder / "w")}
    return [Planned(replace(Config(), run=f"r{i}", **places)) for i in range(count)]


@pytest.mark.parametrize(
    ("together", "tried", "chosen"),
    [
        ({1: 100.0, 4: 300.0, 8: 500.0, 16: 900.0}, [1, 4, 8, 16], 16),
        ({1: 100.0, 4: 300.0, 8: 302.0}, [1, 4, 8], 4),
        ({1: 100.0, 4: 90.0}, [1, 4], 1),
    ],
)
def test_as_many_runs_at_once_are_taken_as_see_more_images(tmp_path, together, tried, chosen):
    for folder in range(len(tried)):  # a run that has its epochs does not finish others at the next look
        (tmp_path / str(folder)).mkdir()
    asked, found = [], {}
    for place, jobs in enumerate(tried):
        found |= measure(runs_in(tmp_path / str(place), 16), [jobs], Machine(together, asked), time.monotonic() + 1000)
    assert asked == tried and found == pytest.approx(together) and best(found) == chosen


def test_trying_ends_where_more_runs_serve_no_more_and_where_too_few_are_left(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "EPOCHS", 0)
    asked = []
    measure(runs_in(tmp_path, 3), [1, 4], Machine({1: 1.0, 4: 1.0}, asked), time.monotonic() + 1000)
    measure(runs_in(tmp_path / "more", 9), [1, 2, 8], Machine(dict.fromkeys((1, 2, 8), 1.0), asked), time.monotonic() + 1000)
    measure(runs_in(tmp_path / "late", 9), [1], Machine({1: 1.0}, asked), time.monotonic())
    assert asked == [1, 1, 2]


def test_data_are_unpacked_once_and_a_hostile_archive_is_refused(tmp_path, image_folder):
    assert data_of("digits", tmp_path) == "digits"
    with tarfile.open(tmp_path / "squares.tar.gz", "w:gz") as file:
        file.add(image_folder, ".")
    for _ in range(2):
        assert data_of(str(tmp_path / "squares.tar.gz"), tmp_path / "data") == f"folder:{tmp_path}/data/squares"
    assert len(list((tmp_path / "data/squares/train").iterdir())) == 3
    with tarfile.open(tmp_path / "evil.tar", "w") as file:
        file.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    for kind in ("gz", "xz", ""):
        with tarfile.open(tmp_path / "whole.tar", f"w:{kind}") as file:
            file.add(image_folder, ".")
        half = (tmp_path / "whole.tar").read_bytes()
        (tmp_path / f"half.tar{kind and '.'}{kind}").write_bytes(half[: len(half) // 2])
    for name in ("evil.tar", "missing.tar", "half.tar", "half.tar.gz", "half.tar.xz"):
        with pytest.raises(UserError, match=f"{name} can't be unpacked"):
            data_of(str(tmp_path / name), tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["squares"]  # of what is not whole nothing stays
    assert not (tmp_path / "data/outside").exists() and not (tmp_path / "outside").exists()


def test_unfinished_runs_are_packed_with_their_checkpoints_and_go_on_elsewhere(tmp_path):
    begun, waiting = runs_in(tmp_path / "here", 2)
    for place in (begun.run.output, begun.run.weights / "epoch-00001", waiting.run.output):
        place.mkdir(parents=True)
        (place / "file").write_text("x")
    pack(tmp_path / "state.tar", [begun, waiting], tmp_path / "here")
    unpack(tmp_path / "state.tar", tmp_path / "there")
    found = {str(path.relative_to(tmp_path / "there")) for path in (tmp_path / "there").rglob("file")}
    assert found == {"o/r0/file", "w/r0/epoch-00001/file"}


def test_studies_are_trained_to_their_records_within_the_time(in_folder, image_folder, monkeypatch, capsys):
    with tarfile.open("squares.tar.gz", "w:gz") as file:
        file.add(image_folder, ".")
    words = "residual_vs_plain --data squares.tar.gz --scale smoke --seeds 1 --epochs 1 --jobs 2 --minutes 9 --state state.tar"
    monkeypatch.setattr(sys, "argv", ["evidence", *words.split()])
    monkeypatch.setattr(evidence, "MEASURED", 600.0)
    monkeypatch.setattr("lab.engines.fleet.start_process", Run)
    assert evidence.main() == 0
    records = sorted(in_folder.glob("results/residual_vs_plain/smoke/*.json"))
    assert [json.loads(path.read_text())["arm"] for path in records] == ["plain20", "resnet20"]
    assert json.loads(records[0].read_text())["config"]["dataset"] == "folder:squares"
    assert "2 runs to train" in capsys.readouterr().out
    log = json.loads((in_folder / "output/evidence/log.json").read_text())
    assert log["records"] == {"residual_vs_plain": 2} and log["unfinished"] == 0 and log["failures"] == {}
    assert evidence.main() == 0 and "0 runs to train" in capsys.readouterr().out  # what has a record is not trained again
