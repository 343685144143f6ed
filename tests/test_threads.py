"""Variables that tell libraries of threads and kernels, unless the user says otherwise."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from foundation.backend import select_backend


@pytest.mark.parametrize(
    ("chosen", "spins"), [({}, "5000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")]
)
def test_the_threads_of_torch_sleep_soon_while_they_wait(chosen, spins):
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment |= {"OMP_DISPLAY_ENV": "VERBOSE"} | chosen  # OpenMP's library tells when it is loaded by what it goes
    command = [sys.executable, "-c", "import models, torch"]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    told = re.findall(r"GOMP_SPINCOUNT ?= ?'(\w+)'", process.stderr)
    assert process.returncode == 0 and told and set(told) == {spins}, process.stderr


@pytest.mark.parametrize(("chosen", "kernels"), [({}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0")])
def test_tensorflow_takes_onednns_kernels_unless_told_otherwise(monkeypatch, chosen, kernels):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    select_backend()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == kernels
