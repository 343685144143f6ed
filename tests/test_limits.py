"""A full disk and too little memory are one line and damage nothing."""

import json

import pytest
from conftest import run_python
from PIL import Image
from whole_runs import EVERYTHING, checkpoints, train

from foundation.errors import RunFailure
from foundation.settings import Config

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
    assert "File too large" in last and "checkpoint epoch-00002 is whole" in last and "Traceback" not in process.stderr
    assert checkpoints(tmp_path) == ["epoch-00001", "epoch-00002"]
    assert not list((tmp_path / "weights/r").glob(".writing-*"))
    history = json.loads((tmp_path / "output/r/history.json").read_text())
    assert history["epoch"] in ([1, 2], [1, 2, 3])
    assert Image.open(tmp_path / "output/r/training.png").size[0] > 400
    resumed = train(tmp_path, image_folder, *flags)
    assert resumed.returncode == 0 and "resuming run 'r' from epoch-00002" in resumed.stdout, resumed.stderr


def test_too_little_memory_is_one_line(tmp_path):
    """A tensor takes half of the memory or more: where only a few kB are lacking, libraries may crash."""
    (tmp_path / "limit.py").write_text(LITTLE_MEMORY)
    flags = ["--batch-size", "1024", "--image-size", "128", "--epochs", "1", "--warmup-epochs", "0"]
    process = run_python(tmp_path / "limit.py", *flags, cwd=tmp_path)
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
import faulthandler, resource
faulthandler.enable()
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
