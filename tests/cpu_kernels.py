"""Cases and conditions that the tests of our own kernels for a CPU share."""

import shutil
from pathlib import Path

import pytest
import torch

from models import torch_cpu

LIBRARY = torch_cpu.library.__wrapped__  # asked anew each time
CPU = Path("/proc/cpuinfo")
COMPILES = shutil.which("cc") and CPU.exists() and " avx2 " in CPU.read_text()
compiled = pytest.mark.skipif(not COMPILES, reason="our kernels need Linux, a C compiler and a CPU with AVX2")


def let_kernels_serve(monkeypatch, capability="AVX2"):
    """Let our kernels be chosen as on a CPU of this capability, whatever this one has."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch_cpu, "library", LIBRARY)


def drawn(*shape, seed=0, wide=False):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64) + 5.0 * wide
