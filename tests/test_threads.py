"""Torch's threads sleep while they wait, unless the user says otherwise."""

import os
import re
import subprocess
import sys

from conftest import ROOT


def test_the_threads_of_torch_sleep_while_they_wait():
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"}  # OpenMP's library tells when it is loaded by what it goes
    command = [sys.executable, "-c", "import models, torch"]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    told = re.findall(r"OMP_WAIT_POLICY ?= ?'(\w+)'", process.stderr)
    assert process.returncode == 0 and told and set(told) == {"PASSIVE"}, process.stderr
