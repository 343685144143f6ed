"""What must not cost a user their work: kill -9, full disks, diverging losses, damaged files, changed data, bad input."""

import hashlib
import io
import json
import string
import subprocess
import time
from dataclasses import asdict, fields

import numpy as np
import pytest
from conftest import ROOT, run_python, write_images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save_file
from whole_runs import EVERYTHING, SETTINGS, assert_same_run, checkpoints, newest_weights, start, train

from datasets.images import BrokenImage, read_image
from foundation.errors import RunFailure, UserError
from foundation.flags import read_config
from foundation.settings import Config
from lab.runs.checkpoints import newest_whole, read_state
from lab.runs.run import Run

ADAM = ["--optimizer", "adam", "--init-lr", "0.002", "--schedule", "plateau", "--checkpoint-minutes", "0.0005"]
SGD = ["--schedule", "cosine", "--checkpoint-minutes", "0.0005", *EVERYTHING]
# Of an epoch, all with 12 images: a last, smaller batch would be compiled for itself.
SIX_STEPS = ["--model", "one-block", "--batch-size", "12", "--val-fraction", "0.2"]


def kill_and_resume(folder, image_folder, seed, runs, flags):
    command = [ROOT / "tests" / "killing.py", folder, str(seed), str(runs), "--dataset", f"folder:{image_folder}", *SETTINGS]
    process = run_python(*command, "--model", "one-block", "--epochs", "4", "--data-dir", folder / "data", *flags, cwd=folder)
    assert process.returncode == 0, process.stderr
    endings = process.stdout.splitlines()
    assert endings[0] == "whole 0" and sum(line.endswith("finished 0") for line in endings) == runs, process.stdout
    assert all(line.endswith(("-9", "finished 0")) for line in endings[1:]), process.stdout
    return endings


@pytest.mark.parametrize(("flags", "runs"), [(SGD, 5), (ADAM, 3)], ids=["SGD, cosine, mixup, average", "Adam, plateau"])
def test_killed_runs_resume_to_the_very_same_bits(flags, runs, image_folder, tmp_path):
    kill_and_resume(tmp_path, image_folder, seed=1, runs=runs, flags=flags)
    whole = newest_weights(tmp_path, "whole")
    for i in range(runs):
        assert_same_run(whole, newest_weights(tmp_path, str(i)))
        assert (tmp_path / f"output/{i}/metrics.json").exists()


def test_without_addressed_randomness_a_killed_run_is_another_run(image_folder, tmp_path):
    """The control: the comparison above can fail."""
    command = [ROOT / "tests" / "killing_consumed.py", tmp_path, "1", "2", "--dataset", f"folder:{image_folder}", *SETTINGS]
    process = run_python(*command, "--model", "one-block", "--epochs", "4", *SGD, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    with pytest.raises(AssertionError):
        for i in range(2):
            assert_same_run(newest_weights(tmp_path, "whole"), newest_weights(tmp_path, str(i)))


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_a_killed_run_resumes_to_the_very_same_bits_elsewhere(backend, image_folder, tmp_path):
    flags = ["--epochs", "3", "--run", "r", *SGD, *SIX_STEPS]
    (tmp_path / "killed").mkdir()
    (tmp_path / "whole").mkdir()
    (tmp_path / "kill.py").write_text(KILL)
    killed = train(tmp_path / "killed", image_folder, *flags, backend=backend, script=tmp_path / "kill.py")
    assert killed.returncode == -9, killed.stderr
    resumed = train(tmp_path / "killed", image_folder, *flags, backend=backend)
    assert "resuming run 'r' from epoch-00001-step-0000003" in resumed.stdout, resumed.stderr
    assert train(tmp_path / "whole", image_folder, *flags, backend=backend).returncode == 0
    assert_same_run(newest_weights(tmp_path / "whole", "r"), newest_weights(tmp_path / "killed", "r"))


# Killed in the second epoch, while the checkpoint after its fourth step is being written.
KILL = """
import os, signal
import lab.runs.checkpoints
from callbacks.checkpoint import Checkpoint
ordinary = lab.runs.checkpoints.write_through
def write_through(path, data):
    ordinary(path, data)
    if path.name == "state.json" and b'"epoch": 1, "step": 4' in data:
        os.kill(os.getpid(), signal.SIGKILL)
lab.runs.checkpoints.write_through = write_through
save = Checkpoint.on_train_batch_begin
def after_every_step(self, batch, logs=None):
    self.interval = 0.0
    save(self, batch, logs)
Checkpoint.on_train_batch_begin = after_every_step
import train
from foundation.scripts import run_script
run_script(train.main)
"""


def test_what_no_network_can_have_is_known_before_the_data(tmp_path):
    flags = ["--dataset", "folder:nowhere", "--model", "plain20", "--stochastic-depth", "0.5"]
    process = run_python(ROOT / "train.py", *flags, cwd=tmp_path)
    assert process.returncode == 2 and "plain20 can't be built so: stochastic_depth=0.5 needs a skip" in process.stderr
    assert process.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_run_out_of_time_ends_with_124_and_goes_on(image_folder, tmp_path):
    flags = ["--epochs", "4", "--run", "r", *EVERYTHING]
    stopped = train(tmp_path, image_folder, *flags, "--start-epoch", "0", "--max-minutes", "0.001")
    assert stopped.returncode == 124, stopped.stderr
    again = stopped.stdout.partition("go on with: python")[2]
    assert "--max-minutes 0.001" in again and again.count("--start-epoch") == again.count("--start-epoch None") == 1
    assert len(checkpoints(tmp_path)) == 1 and "step" in checkpoints(tmp_path)[0]
    resumed = train(tmp_path, image_folder, *flags)
    assert "resuming run 'r'" in resumed.stdout and resumed.returncode == 0, resumed.stderr


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_run_that_diverges_says_where_and_keeps_its_good_checkpoint(backend, image_folder, tmp_path):
    flags = ["--epochs", "3", "--run", "r", "--schedule", "constant", "--init-lr", "0.1", *SIX_STEPS]
    (tmp_path / "diverge.py").write_text(DIVERGE)
    process = train(tmp_path, image_folder, *flags, backend=backend, script=tmp_path / "diverge.py")
    assert process.returncode == 1 and "Traceback" not in process.stderr, process.stderr
    assert "training diverged in epoch 2, step 4 of 6, learning rate 0.1" in process.stderr
    assert "first those of stage1_block1/conv2/kernel" in process.stderr
    assert checkpoints(tmp_path) == ["epoch-00001"]
    history = json.loads((tmp_path / "output/r/history.json").read_text())
    assert history["epoch"] == [1] and np.isfinite(history["loss"]).all()


# At the tenth step the gradient of one kernel, and with it what lies before, is no longer finite.
DIVERGE = """
import keras
from lab.optimizers.optimizer import make_optimizer
import lab.training.fitting
def make(config, rate):
    optimizer = make_optimizer(config, rate)
    watch = type(optimizer).record_gradient_norms
    def spoilt(self, norms):
        names = [variable.path for variable in self.moved.weights]
        reached = keras.ops.arange(len(names)) <= names.index("stage1_block1/conv2/kernel")
        is_now = keras.ops.logical_and(reached, self.iterations.value >= 9)
        watch(self, keras.ops.where(is_now, float("nan"), norms))
    type(optimizer).record_gradient_norms = spoilt
    return optimizer
lab.training.fitting.make_optimizer = make
import train
from foundation.scripts import run_script
run_script(train.main)
"""


def test_a_learning_rate_far_too_large_is_one_line(image_folder, tmp_path):
    process = train(tmp_path, image_folder, "--epochs", "3", "--run", "r", "--schedule", "constant", "--init-lr", "1e30")
    assert process.returncode == 1 and process.stderr.count("\n") == 1, process.stderr
    assert "training diverged in epoch 1, step" in process.stderr and "try a smaller init_lr" in process.stderr


LIMIT = """
import os, resource, sys
from callbacks.checkpoint import Checkpoint
pipes = os.pipe(), os.pipe()
if process := os.fork():  # which alone is limited; what it says goes to files
    for number, (reads, writes) in enumerate(pipes, 1):
        os.close(writes)
        while said := os.read(reads, 4096):
            os.write(number, said)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
for number, (reads, writes) in enumerate(pipes, 1):
    os.dup2(writes, number)
    os.close(reads)
    os.close(writes)
sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # those of before are of files, in which one can seek
ordinary = Checkpoint.on_epoch_end
def then_the_disk_is_full(self, epoch, logs=None):
    ordinary(self, epoch, logs)
    if epoch == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop()), resource.RLIM_INFINITY))
Checkpoint.on_epoch_end = then_the_disk_is_full
import train
from foundation.scripts import run_script
run_script(train.main)
"""


@pytest.mark.parametrize("largest_file", [0, 20_000])
def test_a_full_disk_is_one_line_and_damages_nothing(largest_file, image_folder, tmp_path):
    """No file may grow beyond a size: 0 fails history, plot and checkpoint, 20,000 the plot and the checkpoint's weights."""
    (tmp_path / "limit.py").write_text(LIMIT.replace("int(sys.argv.pop())", str(largest_file)))
    flags = ["--epochs", "3", "--run", "r", *EVERYTHING]
    process = train(tmp_path, image_folder, *flags, script=tmp_path / "limit.py", draws=True)
    assert process.returncode == 1, process.stderr
    last = process.stderr.splitlines()[-1]
    assert "File too large" in last and "checkpoint epoch-00002 stands" in last and "Traceback" not in process.stderr
    assert checkpoints(tmp_path) == ["epoch-00001", "epoch-00002"]
    assert not list((tmp_path / "weights/r").glob(".writing-*"))
    history = json.loads((tmp_path / "output/r/history.json").read_text())
    assert history["epoch"] in ([1, 2], [1, 2, 3])
    assert Image.open(tmp_path / "output/r/training.png").size[0] > 400
    resumed = train(tmp_path, image_folder, *flags)
    assert resumed.returncode == 0 and "resuming run 'r' from epoch-00002" in resumed.stdout, resumed.stderr


def test_too_little_memory_is_one_line(tmp_path):
    (tmp_path / "limit.py").write_text(LITTLE_MEMORY)
    process = run_python(tmp_path / "limit.py", "--batch-size", "1024", "--epochs", "1", "--warmup-epochs", "0", cwd=tmp_path)
    assert process.returncode == 1 and "Traceback" not in process.stderr, process.stderr
    found = process.stderr.splitlines()[-1]
    advice = [*(f"{2**i} fits here" for i in range(2, 10)), "try a smaller one"]
    assert found.removeprefix("error: out of memory with batch_size 1024: ") in advice


@pytest.mark.parametrize(("limit", "fitting"), [(200, 128), (1023, 512), (0, None)])
def test_the_batch_that_fits_is_found_by_trying(limit, fitting):
    import torch

    from lab.training.memory import batch_that_fits

    def model(images, training):
        assert training and images.shape[1:] == (4, 4, 3)
        if len(images) > limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
        return torch.zeros(3, requires_grad=True)

    assert batch_that_fits(model, (4, 4, 3), 1024) == fitting


def test_too_little_memory_for_finding_a_rate_is_one_line(monkeypatch, in_folder):
    import lab.training.experiment

    def find_rate(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    monkeypatch.setattr(lab.training.experiment, "find_rate", find_rate)
    with pytest.raises(RunFailure, match="out of memory with batch_size 64: 32 fits here"):
        lab.training.experiment.find_learning_rate(Config(image_size=8, n=1, batch_size=64))


LITTLE_MEMORY = """
import resource
import lab.training.experiment
ordinary = lab.training.experiment.fit
def with_little_memory(*arguments):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1000 << 20), resource.RLIM_INFINITY))
    ordinary(*arguments)
lab.training.experiment.fit = with_little_memory
import train
from foundation.scripts import run_script
run_script(train.main)
"""


def test_a_run_does_not_go_on_with_other_data_or_another_backend(tmp_path):
    write_images(tmp_path / "set/train", ("a", "b"), 20)
    flags = ["--epochs", "2", "--n", "1", "--run", "r"]
    assert train(tmp_path, tmp_path / "set", *flags).returncode == 0
    before = newest_weights(tmp_path, "r")
    elsewhere = train(tmp_path, tmp_path / "set", *flags, backend="jax")
    assert elsewhere.returncode == 2 and "another KERAS_BACKEND (torch, now jax)" in elsewhere.stderr
    Image.new("RGB", (12, 12), "red").save(tmp_path / "set/train/a/003.png")
    changed = train(tmp_path, tmp_path / "set", *flags)
    assert changed.returncode == 2 and "another content of the data set" in changed.stderr
    measured = run_python(ROOT / "evaluate.py", "r", cwd=tmp_path)
    assert measured.returncode == 2 and "has changed since run 'r'" in measured.stderr
    assert_same_run(before, newest_weights(tmp_path, "r"))


def test_every_pixel_label_and_class_counts_in_a_fingerprint(image_folder, tmp_path):
    from dataclasses import replace

    from datasets.catalog import load

    dataset = load(f"folder:{image_folder}", tmp_path)
    prints = {dataset.fingerprint}
    assert prints == {load(f"folder:{image_folder}", tmp_path).fingerprint}
    pixels = dataset.test.read()
    pixels[-1, -1, -1, -1] ^= 1
    labels = dataset.val.labels.copy()
    labels[0] ^= 1
    prints |= {
        replace(dataset, test=replace(dataset.test, images=pixels, rows=None)).fingerprint,
        replace(dataset, val=replace(dataset.val, labels=labels)).fingerprint,
        replace(dataset, class_names=("dark", "grey", "bright")).fingerprint,
        load(f"folder:{image_folder}", tmp_path, seed=1).fingerprint,
    }
    assert len(prints) == 5


@pytest.fixture(scope="module")
def finished(tmp_path_factory, image_folder):
    """A finished run of one epoch."""
    folder = tmp_path_factory.mktemp("finished")
    process = train(folder, image_folder, "--n", "1", "--epochs", "1", "--warmup-epochs", "0", "--run", "r")
    assert process.returncode == 0, process.stderr
    return folder


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
many = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(st.data())
def test_edited_settings_of_a_run_are_one_line(finished, tmp_path, data):
    run = Run("r", tmp_path, tmp_path)
    run.output.mkdir(exist_ok=True)
    kept = json.loads((finished / "output/r/config.json").read_text())
    kept[data.draw(st.sampled_from([*kept, "unknown"]))] = data.draw(json_values)
    text = json.dumps(data.draw(st.sampled_from([kept, data.draw(json_values)])))
    (run.output / "config.json").write_text(text[: data.draw(st.sampled_from([len(text), len(text) // 2]))])
    try:
        assert isinstance(run.read_config(), Config)
    except UserError as error:
        assert str(error)


@many
@given(st.data())
def test_a_run_folder_of_any_content_is_read_or_set_aside(finished, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    source = finished / "weights/r/epoch-00001"
    target = folder / "epoch-00001"
    target.mkdir()
    for file in source.iterdir():
        content = file.read_bytes()
        damage = data.draw(st.sampled_from(["none", "none", "none", "cut", "other", "missing"]))
        if damage == "cut":
            content = content[: data.draw(st.integers(0, len(content) - 1))]
        elif damage == "other":
            content = data.draw(st.binary(max_size=64))
        if damage != "missing":
            (target / file.name).write_bytes(content)
    found = newest_whole(folder, sets_aside=True)
    contents = [{file.name: file.read_bytes() for file in place.iterdir()} for place in (source, next(folder.iterdir()))]
    assert (found is not None) == (contents[0] == contents[1])
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weights: weights.pop("stem_conv/kernel"), "missing ['stem_conv/kernel']"),
        (lambda weights: weights.update(bogus=np.zeros(3)), "not wanted ['bogus']"),
        (
            lambda weights: weights.update({"stem_conv/kernel": np.zeros((3, 3, 1, 16))}),
            "stem_conv/kernel is (3, 3, 1, 16), wanted",
        ),
    ],
    ids=["missing", "unknown", "other shape"],
)
def test_weights_that_do_not_fit_are_named(change, words, finished, tmp_path):
    """Also where the manifest is right: somebody made the checkpoint so."""
    subprocess.run(["cp", "-r", finished / "output", finished / "weights", tmp_path], check=True)
    folder = tmp_path / "weights/r/epoch-00001"
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["model.safetensors"]["sha256"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    process = run_python(ROOT / "evaluate.py", "r", cwd=tmp_path)
    assert process.returncode == 2 and words in process.stderr and process.stderr.count("\n") == 1, process.stderr


@many
@given(json_values)
def test_a_checkpoints_state_is_a_state_or_one_line(value):
    try:
        state = read_state({"state.json": json.dumps(value).encode()})
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert state == value and state["epoch"] >= 0 and state["step"] >= 0


def test_what_a_checkpoint_must_say_is_little():
    state = {"epoch": 3, "step": 0}
    assert read_state({"state.json": json.dumps(state).encode()}) == state


@many
@given(st.data())
def test_no_bytes_make_the_image_reader_fail_otherwise(tmp_path, data):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "MPO"]))
    more = ["1"] * (kind not in ("AVIF", "JPEG2000")) + ["P"] * (kind in ("PNG", "GIF", "BMP", "TIFF"))
    mode = data.draw(st.sampled_from(["RGB", "L", *more]))
    file = io.BytesIO()
    Image.fromarray(np.arange(300, dtype="uint8").reshape(10, 10, 3)).convert(mode).save(file, format=kind)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    (tmp_path / "image").write_bytes(content)
    try:
        image = read_image(tmp_path / "image", 8)
        assert image.shape == (8, 8, 3) and image.dtype == np.uint8
    except BrokenImage as error:
        assert str(error)


@many
@given(st.data())
def test_flags_of_any_kind_are_settings_or_one_line(data):
    names = ["--" + field.name.replace("_", "-") for field in fields(Config)] + ["--no-such", "-x", "--"]
    values = st.one_of(st.text(string.printable, max_size=8), st.floats().map(str), st.integers().map(str))
    arguments = []
    for _ in range(data.draw(st.integers(1, 4))):
        arguments.append(data.draw(st.sampled_from(names)))
        if data.draw(st.booleans()):
            arguments.append(data.draw(values))
    try:
        assert asdict(read_config(arguments))
    except UserError as error:
        assert str(error)
    except SystemExit as end:
        assert end.code == 0 and {"-h", "--help"} & set(arguments)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("bomb", "pixels are too many"),
        ("16 bit", None),
        ("animated", None),
        ("wrong ending", None),
        ("text", "an unknown kind of file; images are JPEG"),
    ],
)
def test_hostile_images_are_read_as_what_they_are_or_told_of(kind, words, tmp_path):
    path = tmp_path / "image.png"
    if kind == "bomb":
        Image.new("1", (100_000, 1_000)).save(path)
    elif kind == "16 bit":
        Image.fromarray(np.full((20, 20), 40_000, "uint16")).save(path)
    elif kind == "animated":
        frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
        frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:])
    elif kind == "wrong ending":
        Image.new("RGB", (20, 20), "red").save(path, format="JPEG")
    else:
        path.write_text("#!/bin/sh\nrm -rf /\n")
    if words:
        with pytest.raises(BrokenImage, match=words):
            read_image(path, 8)
        return
    level = read_image(path, 8)[4, 4].astype(int)
    expected = [156, 156, 156] if kind == "16 bit" else [255, 0, 0]
    assert np.abs(level - expected).max() <= 2


def test_two_processes_started_together_on_one_run(image_folder, tmp_path):
    flags = ["--n", "1", "--run", "r", "--epochs", "5000"]
    both = [start(tmp_path, image_folder, *flags) for _ in range(2)]
    while all(process.poll() is None for process in both):
        time.sleep(0.02)
    refused, other = sorted(both, key=lambda process: process.poll() is None)
    assert refused.returncode == 2 and f"run 'r' is being written by process {other.pid} on " in refused.stderr
    assert other.poll() is None, other.stderr
    other.kill()
    other.wait()


@pytest.mark.parametrize("flag", ["--output-dir=/proc/nowhere", "--weights-dir=file/below", "--data-dir=/proc/nowhere"])
def test_a_folder_that_can_not_be_written_is_one_line(flag, image_folder, tmp_path):
    (tmp_path / "file").write_text("")
    process = train(tmp_path, image_folder, "--epochs", "1", "--warmup-epochs", "0", "--run", "r", flag)
    assert process.returncode == 2 and process.stderr.count("\n") == 1, process.stderr
    assert flag.partition("=")[2] in process.stderr


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "x" * 200, "..", "nul\0"])
def test_a_runs_name_stays_inside_its_folder(name, tmp_path):
    if name and "\0" not in name:
        process = run_python(ROOT / "train.py", "--run", name, cwd=tmp_path)
        assert process.returncode == 2 and "letters, digits" in process.stderr
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["--init-lr=-1e999", "--epochs=ä", "--model=[]", "--seed=", "--padding=--", "--ema-decay=nan"])
def test_a_mistake_leaves_nothing_behind(flag, tmp_path):
    """A sample of what hypothesis tries within one process, through the front door."""
    process = run_python(ROOT / "train.py", flag, cwd=tmp_path)
    assert process.returncode == 2 and process.stderr.startswith("error: ") and process.stderr.count("\n") == 1, process.stderr
    assert list(tmp_path.iterdir()) == []
