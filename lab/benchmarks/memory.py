"""Peak memory of training: on a GPU the maximum that torch's allocator held, otherwise the growth of the process."""

import sys

from foundation import devices


class Memory:
    """Counter that starts when it is made: before a network is built and after libraries are imported."""

    def __init__(self):
        self.before = _status_mb("VmRSS")

    def peak_mb(self):
        torch = sys.modules.get("torch")
        if torch and devices.uses_cuda():
            return torch.cuda.max_memory_allocated() / 2**20
        return _status_mb("VmHWM") - self.before


def _status_mb(name):
    """Return a memory field of /proc/self/status in MiB.

    The maximum of `getrusage` is no substitute: it starts with the memory of the process that started this one.
    """
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) / 1024
