"""Peak memory of training: on a GPU the maximum that torch's allocator held, otherwise the growth of the process."""

import sys
from pathlib import Path

from foundation import devices

STATUS = Path("/proc/self/status")


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
    """Return a memory field of /proc/self/status in MiB; where there is no such file, the most that this process ever had.

    On Linux the latter, `getrusage`, is no substitute: it starts with the memory of the process that started this one.
    """
    if not STATUS.exists():
        import resource  # missing on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def available_bytes():
    """Return the bytes that this process can still have: of the GPU's memory, else of the machine's and its container's."""
    torch = sys.modules.get("torch")
    if torch and devices.uses_cuda():
        return torch.cuda.mem_get_info()[0]
    with open("/proc/meminfo") as file:
        free = next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    most, used = (_number_in(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    return free if most is None or used is None else max(min(free, most - used), 0)


def _number_in(path):
    """Return the number that a file holds; None if there is no such file or it holds a word, such as "max"."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
