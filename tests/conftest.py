"""What several tests need: small images on disk, and processes with another backend."""

import os

# Tests share the cores among them: several threads each would only get in one another's way. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Numbers are compared on the CPU everywhere; Keras reads this when it is imported. `make test-gpu` names another device.
os.environ.setdefault("KERAS_TORCH_DEVICE", "cpu")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Processes on jax compile much the same: what one has compiled is there for the next. XLA takes longer to make programs of small
# networks fast than to run them; new interpreters compile them as users' do.
os.environ |= {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_COMPILATION_CACHE_DIR": os.path.join(os.path.dirname(__file__), "..", ".pytest_cache", "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}

import ctypes
import gc
import random
import resource
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image
from processes import ROOT, run_python
from shipped import forget_edits

from foundation.backend import select_backend

select_backend()  # before a test imports Keras
forget_edits()
hypothesis.settings.register_profile("shared cores", deadline=None)
hypothesis.settings.load_profile("shared cores")


# Files of large networks and images are begun first, while a worker holds few libraries. Then come those that take longest: what
# one core has left when the other is done is then little.
FIRST = [
    "models",
    "model_counts",
    "transfer",
    "image_reading",
    "backends",
    "faults",
    "any_content",
    "studies",
    "study_estimates",
    "export",
    "replicas",
    "dashboard",
    "benchmark",
    "recipes",
    "training",
    "training_settings",
    "explain_maps",
    "explain",
    "visualize",
    "hostile_damage",
    "datasets",
    "hostile_runs",
    "costs",
    "engines",
    "fleet",
    "lessons",
]


def pytest_addoption(parser):
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the tests of each file in an order that this seed draws")


def pytest_collection_modifyitems(config, items):
    if (seed := config.getoption("--shuffle")) is not None:
        random.Random(seed).shuffle(items)
        items.sort(key=lambda item: str(item.fspath))
    places = {f"test_{name}": place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(Path(item.fspath).stem, len(FIRST)))


def pytest_collection_finish(session):
    """Keep what libraries made out of every later search for garbage."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        import torch

        if os.environ["KERAS_TORCH_DEVICE"] == "cpu" or not torch.cuda.is_available():
            pytest.skip("needs a GPU: make test-gpu")


@pytest.fixture(autouse=True, scope="module")
def memory_is_given_back():
    """Networks are circles of references, which Keras remembers besides: a worker would keep those of every module."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session(free_memory=False)
    give_memory_back()


MUCH_MEMORY = 256 << 20  # bytes that a worker may take more than after it gave memory back
memory_kept = 768 << 20  # bytes that it held then, at first those of libraries


@pytest.fixture(autouse=True)
def much_memory_is_given_back(memory_is_given_back):
    """A worker would keep all large networks of a module until its end."""
    yield
    if memory_held() > memory_kept + MUCH_MEMORY:
        give_memory_back()


def memory_held():
    """Bytes of this process; 0 where Linux does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0


LIBC = ctypes.CDLL(None)
MMAP_THRESHOLD = -3  # of glibc's mallopt: blocks from so many bytes on are given back as soon as they are freed
if hasattr(LIBC, "mallopt"):  # left alone, glibc raises it to 32 MB, and kernels of networks tear holes into the heap
    LIBC.mallopt(MMAP_THRESHOLD, 4 << 20)


def give_memory_back():
    global memory_kept
    gc.collect()
    if hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)
    memory_kept = memory_held()


def write_images(folder, classes, count, size=12, seed=0):
    """`count` images of each class below `folder`: the class sets the brightness of a noisy square."""
    random = np.random.default_rng(seed)
    for c, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = random.integers(0, 60, (size, size, 3)) + 60 * c
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{i:03d}.png")


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """A folder data set of three classes with train and test, 12x12 pixels."""
    root = tmp_path_factory.mktemp("data") / "squares"
    write_images(root / "train", ("dark", "grey", "light"), 30)
    write_images(root / "test", ("dark", "grey", "light"), 8, seed=1)
    return root


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, image_folder):
    """The folder of a finished run "r" of one epoch on the three classes, which tests may measure, export and predict with."""
    folder = tmp_path_factory.mktemp("runs")
    settings = f"--run r --epochs 1 --warmup-epochs 0 --model resnet6n2 --n 1 --dataset folder:{image_folder}".split()
    assert run_python(ROOT / "train.py", *settings, cwd=folder).returncode == 0
    return folder


@pytest.fixture
def ask(monkeypatch, capsys):
    """Returns a function that runs study.py with arguments, and returns its exit code and what it prints."""
    import study

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["study.py", *arguments])
        return study.main(), capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def chromium():
    """A browser, for tests with the marker `browser`."""
    from browsing import chromium_running

    with chromium_running() as browser:
        yield browser


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """The test runs in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module", params=["AVX2", "AVX512"])
def kernels(request):
    """Our kernels for a CPU, for each kind of registers that this one has."""
    import torch
    from cpu_kernels import let_kernels_serve

    from models import torch_cpu

    if request.param == "AVX512" and torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip("this CPU has no AVX512")
    with pytest.MonkeyPatch.context() as monkeypatch:
        let_kernels_serve(monkeypatch, request.param)
        found = torch_cpu.library()
        monkeypatch.setattr(torch_cpu, "library", lambda: found)
        yield found
