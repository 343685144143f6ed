"""How much memory training takes: on a GPU what torch's allocator held at most, else what the process grew by."""

import resource
import sys


class Memory:
    """Starts counting when made, which is before a network is built and after libraries are imported."""

    def __init__(self):
        self.before = _resident_mb()

    def peak_mb(self):
        torch = sys.modules.get("torch")
        if torch and torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - self.before


def _resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
