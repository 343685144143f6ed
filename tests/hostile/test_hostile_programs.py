"""Scripts, folders and data sets from elsewhere that would start programs, import modules or reach for the network."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from planting import METADATA, one_line, write_onnx

from datasets.catalog import load
from datasets.tensorflow_datasets import FEATURES
from foundation.errors import UserError
from foundation.settings import Config
from lab.engines import slurm
from lab.engines.fleet import Planned
from lab.exporting.predict import OnnxNetwork
from lab.panels.studies import framed


def planned(folder, **changes):
    config = replace(Config(), output_dir=str(folder / "o"), weights_dir=str(folder / "w"), run="r", **changes)
    return [Planned(config)]


NAMES = (
    "a b",
    "$(touch canary)",
    "`touch canary`",
    "a;touch canary",
    "'a",
    "&touch canary&",
    "%j %A",
    "#x",
    "*",
    "-n",
    "~",
    "café",
)
NAMES += (os.fsdecode(b"caf\xe9"), "a|touch canary", "$HOME", "!touch")


@pytest.mark.parametrize("name", NAMES)
def test_a_script_of_slurm_runs_nothing_that_stands_in_a_name(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(slurm, "command", lambda config: [sys.executable, "-c", "pass", f"folder:{name}", config.data_dir])
    submit = slurm.write_jobs("study", planned(folder, dataset=f"folder:{name}", data_dir=name), folder, 1, 0, 60)
    (folder / "sbatch").write_text('#!/bin/bash\nprintf "%s\\n" "$@" > "$(dirname "$0")/asked.txt"; echo 7\n')
    (folder / "sbatch").chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:/usr/bin:/bin", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}
    how = {"cwd": folder, "env": environment, "capture_output": True}
    assert subprocess.run(["bash", submit], **how).returncode == 0
    assert os.fsdecode((folder / "asked.txt").read_bytes()).splitlines()[-1] == str(folder / "slurm-job-0.sh")
    ended = subprocess.run(["bash", folder / "slurm-job-0.sh"], **how)
    assert ended.returncode == 0, ended.stderr
    assert not list(tmp_path.rglob("canary"))
    (output,) = [line for line in (folder / "slurm-job-0.sh").read_bytes().splitlines() if b"--output" in line]
    assert os.fsdecode(output) == f'#SBATCH --output="{str(folder).replace("%", "%%")}/slurm-%A_%a.log"'


@pytest.mark.parametrize("name", ["a\ntouch canary", "a\rb", "a\x1b[2J", "a\u2028b", "a\x85b"])
@pytest.mark.parametrize("where", ["folder", "dataset"])
def test_what_would_end_a_line_of_a_script_is_refused(tmp_path, name, where):
    folder = tmp_path / (name if where == "folder" else "x")
    with pytest.raises(UserError, match="control character"):
        slurm.write_jobs("study", planned(tmp_path, dataset=f"folder:{name}"), folder, 1, 0, 60)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ['a"b', "a\\b"])
def test_what_slurm_can_not_be_told_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="Slurm can't be told"):
        slurm.write_jobs("study", planned(tmp_path), tmp_path / name, 1, 0, 60)


EVIL = {
    "today's spelling": {"pythonClassName": "antigravity.Evil"},
    "protobuf's spelling": {"python_class_name": "antigravity.Evil"},
    "an older version's": {"type": "antigravity.Evil", "content": {}},
    "deep within": {
        "pythonClassName": FEATURES + "features_dict.FeaturesDict",
        "a": [{"b": {"pythonClassName": "antigravity.Evil"}}],
    },
    "like our own": {"pythonClassName": "tensorflow_datasets_evil.Evil"},
}


@pytest.mark.parametrize("features", EVIL.values(), ids=EVIL)
def test_a_prepared_set_imports_no_module_that_it_names(in_folder, features):
    prepared = in_folder / "data/evil/1.0.0"
    prepared.mkdir(parents=True)
    (prepared / "features.json").write_text(json.dumps(features))
    (prepared / "dataset_info.json").write_text(json.dumps({"name": "evil", "version": "1.0.0", "splits": []}))
    with pytest.raises(UserError, match="allowed: features of tensorflow_datasets itself"):
        load("tfds:evil")
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "name", ["huggingface:x", "kaggle:x/y", "ns:mnist", "mnist/data_dir=x", "mnist/file_format=tfrecord", "../x"]
)
def test_names_that_reach_elsewhere_are_one_line(in_folder, monkeypatch, name):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("asked for an address"))
    with pytest.raises(UserError):
        load(f"tfds:{name}")


def test_the_dashboard_asks_nobody_for_the_addresses_of_this_machine(monkeypatch):
    from streamlit import net_util
    from streamlit.web import bootstrap
    from streamlit.web.server.server_util import is_url_from_allowed_origins

    import dashboard

    for name in ("_internal_ip", "_external_ip"):
        monkeypatch.setattr(net_util, name, None)
    monkeypatch.setattr(net_util, "_make_blocking_http_get", lambda *_, **__: pytest.fail("asked a host"))
    monkeypatch.setattr(bootstrap, "load_config_options", lambda flags: None)
    monkeypatch.setattr(bootstrap, "run", lambda *_: None)
    monkeypatch.setattr(dashboard, "_check_port", lambda port: None)
    monkeypatch.setattr(sys, "argv", ["dashboard.py"])
    dashboard.main()
    assert not is_url_from_allowed_origins("http://example.com")


def test_a_report_stands_in_a_frame_without_any_right():
    report = '<meta http-equiv=refresh content="0;url=http://a.b"></iframe><script>x</script>\'">'
    framed_report = framed(report)
    assert framed_report.count("<script") == framed_report.count("http-equiv=refresh") - 1 == 0
    assert framed_report.count("<iframe") == 1 and 'sandbox=""' in framed_report and "</iframe" not in framed_report


WRONG = {"image_size": ["100000", "8.5", '"8"', "-8", "[]", "9"], "class_names": ["{}", "[]", "[1, 2]", '["a"]', "[[", "3"]}
WRONG |= {"mean": ["{}", "[0, 0]", "1", "[NaN, 0, 0]"], "std": ["[0, 0, 0]", "null", "[1]", "[1e999, 1, 1]"]}


def test_metadata_of_an_onnx_file_that_lies_is_one_line(tmp_path):
    path = tmp_path / "m.onnx"
    write_onnx(path, METADATA)
    assert OnnxNetwork(path).class_names == ["a", "b"]
    for name, values in WRONG.items():
        for value in values:
            write_onnx(path, METADATA | {name: value})
            assert one_line(lambda: OnnxNetwork(path)), (name, value)
    path.unlink()
    os.mkfifo(path)
    assert "regular file" in one_line(lambda: OnnxNetwork(path))
