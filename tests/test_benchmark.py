"""The benchmarks: honest contestants, the contract of `--json`, errors in one line."""

import json
from dataclasses import field, fields, make_dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, run_python
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import MODELS, architecture_of, build_model
from foundation.errors import UserError
from lab.benchmarks import memory, norms, throughput, twins
from lab.benchmarks.epoch import surpluses
from lab.benchmarks.families import as_table, ratios
from lab.benchmarks.growth import SWEEPS, describe, slopes
from lab.benchmarks.latency import TURN, Latency, pairs, turn_ratios
from lab.benchmarks.norm_pairs import PEERS
from lab.benchmarks.profile import kind_of
from lab.benchmarks.throughput import Measurement, marginal_seconds, speed_ratio
from lab.benchmarks.torch_networks import Loop, Network
from lab.benchmarks.twins import check_twins
from lab.benchmarks.worker import Worker
from models.architecture import Architecture


def test_the_hand_written_network_is_the_same_network():
    ours, theirs = build_model("resnet20", (16, 16, 3), 10), Network(architecture_of("resnet20"), 3, 10)
    weights = {variable.path: variable.value for variable in ours.variables}
    for path, module in named_as_ours(theirs):
        for own, role in (("weight", "kernel"), ("weight", "gamma"), ("bias", "beta"), ("bias", "bias")):
            if f"{path}/{role}" in weights:
                value = weights.pop(f"{path}/{role}").detach()
                value = value.permute(3, 2, 0, 1) if value.ndim == 4 else value.t()
                getattr(module, own).data.copy_(value)
    assert all("moving" in path for path in weights)
    images = torch.randn(4, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    logits = ours(images, training=True)
    torch.testing.assert_close(theirs(images.permute(0, 3, 1, 2)), logits, atol=1e-4, rtol=1e-4)


def named_as_ours(network):
    """(our path, module) of every module with weights."""
    yield "stem_conv", network.body[0]
    yield "stem_norm", network.body[1]
    for i, block in enumerate(list(network.body)[3:]):
        path = f"stage{i // 3 + 1}_block{i % 3 + 1}"
        for j, (convolution, norm) in enumerate(zip(block.convs, block.norms, strict=True), start=1):
            yield f"{path}/conv{j}", convolution
            yield f"{path}/norm{j}", norm
        if block.shortcut:
            yield f"{path}/shortcut_conv", block.shortcut[0]
            yield f"{path}/shortcut_norm", block.shortcut[1]
    yield "classifier", network.classifier


@pytest.mark.parametrize("name", ["resnet20", "plain20", "preresnet20", "xresnet20", "se-mxresnext29_16x2d"])
def test_the_hand_written_loop_learns_its_batch(name):
    network = Network(architecture_of(name), 3, 4)
    images, labels = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 4
    loop = Loop(network, images, labels, is_bfloat16=False)
    before = loop.loss_of(images, labels).item()
    for _ in range(10):
        loop.step()
    assert loop.loss_of(images, labels).item() < before


def test_a_ratio_compares_within_each_repetition():
    common = {"model": "m", "batch": 1, "precision": "float32", "mode": "auto", "backend": "torch", "device": "d"}
    ours, other = Measurement("ours", times=[1.0, 10.0, 2.0], **common), Measurement("torch", times=[2.0, 20.0, 4.0], **common)
    assert speed_ratio(ours, other) == (2.0, 2.0, 2.0)
    assert ours.images_per_second == 500


def test_throughput_writes_what_the_contract_says(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-compiler")  # it would take a minute
    flags = "throughput --batch 4 --image-size 8 --steps 1 --repetitions 1 --precision float32 --json t.json --plot t.png"
    process = run_python(ROOT / "benchmark.py", *flags.split(), cwd=tmp_path, draws=True)
    assert process.returncode == 0, process.stderr
    records = json.loads((tmp_path / "t.json").read_text())
    assert [(record["name"], record["batch"]) for record in records] == [("ours", 4), ("keras", 4), ("torch", 4)]
    for record in records:
        assert {"model", "batch", "precision", "backend", "device"} <= set(record)
        assert record["start_seconds"] > 0 and record["peak_memory_mb"] > 0
        assert record["images_per_second"] == pytest.approx(1e3 * record["batch"] / record["ms_per_step"])
    assert (tmp_path / "t.png").stat().st_size > 1000
    assert process.stdout.count("times as fast") == 2


def test_each_batch_size_is_measured_by_itself(monkeypatch, capsys):
    def measure(network, precisions, backends, steps, repetitions):
        what = "resnet20", network["batch"], "float32", "eager", "torch", "cpu", [2.0]
        return [Measurement(name, *what, peak_memory_mb=1.0) for name in throughput.LABELS]

    monkeypatch.setattr(throughput, "measure", measure)
    found = throughput.measure_batches({"model": "resnet20"}, [4, 6], ["float32"], ["torch"], 1, 1)
    assert [m.batch for m in found] == [4] * len(throughput.LABELS) + [6] * len(throughput.LABELS)
    assert capsys.readouterr().out.count("times as fast") == 4


def test_every_backend_has_its_contestants_and_pytorch_its_modes(monkeypatch):
    monkeypatch.setattr(throughput.devices, "uses_cuda", lambda: False)
    for has_compiler, modes in ((False, ["eager"]), (True, ["eager", "compile"])):
        monkeypatch.setattr(throughput, "has_compiler", lambda has=has_compiler: has)
        found = list(throughput.line_up(["float32"], ["jax", "torch"]))
        assert [each[:2] for each in found[:4]] == [("ours", "jax"), ("ours", "torch"), ("keras", "jax"), ("keras", "torch")]
        assert found[4:] == [("torch", "torch", "float32", mode) for mode in modes]


def test_an_unknown_model_is_one_line(tmp_path):
    process = run_python(ROOT / "benchmark.py", "throughput", "--model", "resnet2O", cwd=tmp_path)
    assert process.returncode == 2
    assert "did you mean 'resnet20'" in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr


def test_a_network_that_others_have_no_twin_of_is_one_line():
    for part in ({"attention": "cbam"}, {"norm": "group"}, {"stochastic_depth": 0.5}):
        with pytest.raises(UserError, match="no twin of a network with"):
            check_twins(architecture_of("resnet20", **part))


def test_a_part_that_nobody_wrote_a_twin_of_yet_is_refused(monkeypatch):
    """A field that architectures get tomorrow: its default passes, another value does not."""
    new = make_dataclass("New", [("dilation", int, field(default=1))], bases=(Architecture,), frozen=True)
    monkeypatch.setattr(twins, "Architecture", new)
    known = {each.name: getattr(architecture_of("resnet20"), each.name) for each in fields(Architecture)}
    check_twins(new(**known))
    with pytest.raises(UserError, match="dilation 2"):
        check_twins(new(**known, dilation=2))


@pytest.mark.parametrize("name", MODELS)
def test_every_network_of_the_table_has_its_twins(name):
    check_twins(architecture_of(name))


def test_a_step_is_timed_without_what_a_call_costs():
    worker = SimpleNamespace(run=lambda steps: {"seconds": 7 + 0.5 * steps, "peak_memory_mb": 3})
    assert marginal_seconds(worker, 20) == (0.5, 3)


def test_norms_are_measured_in_processes_of_their_own():
    assert tuple(PEERS) == norms.NAMES
    ratios = norms.measure("group", 1, 1)
    assert ratios.shape == (1, len(norms.SHAPES)) and (ratios > 0).all()
    assert norms.row("group", np.array([[1.0, 3.0], [2.0, 4.0], [4.0, 5.0]])).split(maxsplit=1) == [
        "group",
        "2.00 (1.00 to 4.00)   4.00 (3.00 to 5.00)",
    ]


def test_memory_is_measured_where_the_system_has_no_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    counter = memory.Memory()
    filled = np.ones(2 << 20)  # 16 MiB
    assert counter.peak_mb() >= 0 and filled.all()


def test_a_profile_accounts_for_the_whole_step(tmp_path):
    process = run_python(ROOT / "benchmark.py", "profile", "--batch", "4", "--image-size", "8", "--steps", "2", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    shares = {line[:26].strip(): float(line.split()[-1].rstrip("%")) for line in process.stdout.splitlines() if "%" in line}
    assert sum(shares.values()) == pytest.approx(100, abs=1)
    assert shares["convolution"] > 0 and shares["norm, backward"] > 0 and shares["optimizer"] > 0


def test_every_operation_has_one_kind():
    kinds = {name: kind_of(f"aten::{name}") for name in ("convolution_backward", "mkldnn_convolution", "_foreach_add_", "add_")}
    assert list(kinds.values()) == ["convolution, backward", "convolution", "optimizer", "additions and products"]
    assert kind_of("aten::topk") == "other operations"


def test_a_whole_epoch_is_timed_beside_its_bare_steps(tmp_path):
    flags = "epoch --batch 16 --train-images 64 --val-images 16 --repetitions 1 --precision float32"
    process = run_python(ROOT / "benchmark.py", *flags.split(), cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    whole, recorded = process.stdout.splitlines()[-2:]
    assert "over its bare steps (median)" in whole and "--track-gradients" in recorded
    assert not list(tmp_path.iterdir())


def test_surpluses_are_medians_over_repetitions():
    triples = [(10.0, 11.0, 11.0), (10.0, 20.0, 21.0), (20.0, 21.0, 42.0)]
    assert surpluses(triples) == pytest.approx((10.0, 5.0))


@given(slope=st.floats(-1, 2), start=st.floats(0.1, 10))
def test_the_slope_of_a_power_law_is_its_exponent(slope, start):
    points = [(size, [start * size**slope] * 3) for size in (10, 20, 80)]
    whole, between = slopes(points)
    assert whole == pytest.approx(slope, abs=1e-9) and between == pytest.approx([slope] * 2, abs=1e-9)
    assert not any("bends" in text for text in describe(SWEEPS["batch"], points))
    (bend,) = (text for text in describe(SWEEPS["batch"], [*points, (160, [1e3 * start * 160**slope])]) if "80 to 160" in text)
    assert "it bends: slope" in bend


def test_growth_is_measured_in_processes_that_take_turns(tmp_path):
    flags = "growth --sweeps batch --sizes 2 4 --model plain20 --repetitions 1 --precision float32 --json g.json --plot g.png"
    process = run_python(ROOT / "benchmark.py", *flags.split(), cwd=tmp_path, draws=True)
    assert process.returncode == 0, process.stderr
    found = json.loads((tmp_path / "g.json").read_text())["batch"]
    assert [each["size"] for each in found] == [2, 4] and all(each["cost"] > 0 for each in found)
    assert "slope" in process.stdout and (tmp_path / "g.png").stat().st_size > 1000


def test_ratios_of_families_are_of_the_fastest_rival_of_each_backend():
    def of(name, backend, mode, ms):
        return throughput.Measurement(name, "resnet20", 8, "float32", mode, backend, "cpu", times=[ms] * 3)

    measured = [of("ours", "torch", "auto", 2.0), of("ours", "jax", "auto", 6.0), of("keras", "torch", "auto", 4.0)]
    measured += [of("keras", "jax", "auto", 3.0), of("torch", "torch", "eager", 5.0), of("torch", "torch", "compile", 3.0)]
    found = {what: ratio[0] for what, ratio in ratios(measured).items()}
    assert found == {
        "stock Keras, torch, float32": 2.0,
        "best hand-written PyTorch, float32": 1.5,
        "stock Keras, jax, float32": 0.5,
    }
    assert "| `resnet20` | 2.00 (2.00 to 2.00) |" in as_table({"resnet20": ratios(measured)})


def test_latency_states_times_threads_and_device(tmp_path):
    flags = "latency one-block --runtimes eager onnx --fold --batch 1 --image-size 8 --calls 11 --warm-ups 1 --threads 1"
    flags += " --json l.json"
    process = run_python(ROOT / "benchmark.py", *flags.split(), cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    records = json.loads((tmp_path / "l.json").read_text())
    assert [(r["runtime"], r["is_folded"]) for r in records] == [
        (name, fold) for name in ("eager", "onnx") for fold in (False, True)
    ]
    for record in records:
        assert len(record["milliseconds"]) == 11 and record["threads"] == 1 and record["device"]
        assert min(record["milliseconds"]) <= record["median"] <= record["p95"] <= max(record["milliseconds"])
    assert process.stdout.count("times as fast") == 2


def test_a_folded_network_is_compared_within_each_turn():
    common = {"model": "m", "runtime": "eager", "batch": 1, "threads": 1, "device": "d"}
    plain = Latency(is_folded=False, milliseconds=[2.0] * TURN + [20.0] * TURN, **common)
    folded = Latency(is_folded=True, milliseconds=[1.0] * TURN + [10.0] * TURN, **common)
    assert pairs([folded, plain]) == [[plain, folded]]
    assert turn_ratios(plain, folded) == [2.0, 2.0]


def test_a_contestant_that_has_died_is_told():
    """Writing to it fails as writing to a reader does that has left, which is no fault."""
    with Worker("ours", "torch", module="lab.no_such_module") as worker:
        worker.device = "a CPU"  # as if it had answered once
        worker.process.wait()
        with pytest.raises(RuntimeError, match=r"(?s)failed:.*no_such_module"):
            worker.run(1)
