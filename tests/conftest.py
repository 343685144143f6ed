"""What several tests need: small images on disk, and processes with another backend."""

import os

# Tests share the cores among them: several threads each would only get in one another's way. Set before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
# Processes on jax compile much the same: what one has compiled is there for the next.
os.environ |= {
    "JAX_COMPILATION_CACHE_DIR": os.path.join(os.path.dirname(__file__), "..", ".pytest_cache", "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}

import config  # noqa: F401, I001  before Keras: it selects the backend
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

hypothesis.settings.register_profile("shared cores", deadline=None)
hypothesis.settings.load_profile("shared cores")
ROOT = Path(__file__).parent.parent


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


def run_python(*arguments, backend="torch", cwd=ROOT, **options):
    """Runs Python in a process of its own, without a backend named where it is None; returns the process with its text."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("KERAS_BACKEND")
    environment |= {"KERAS_BACKEND": backend} if backend else {}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        **options,
    )


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """The test runs in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
