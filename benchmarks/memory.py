"""How much memory training takes: on a GPU what torch's allocator held at most, else what the process grew by."""

import sys

import devices


class Memory:
    """Starts counting when made, which is before a network is built and after libraries are imported."""

    def __init__(self):
        self.before = _status_mb("VmRSS")

    def peak_mb(self):
        torch = sys.modules.get("torch")
        if torch and devices.uses_cuda():
            return torch.cuda.max_memory_allocated() / 2**20
        return _status_mb("VmHWM") - self.before


def _status_mb(name):
    """Not getrusage's maximum, which begins with what the process had in use that started this one."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) / 1024
