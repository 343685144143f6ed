"""Our norms beside PyTorch's own operations: forward and all gradients, in turns, in float32.

Each norm is measured in several processes, one after another. Times of a process differ by a tenth and more, depending on which
core's cache holds its memory.
"""

import numpy as np

from foundation.backend import demand_torch
from lab.benchmarks import arguments as common
from lab.benchmarks.worker import Worker

NAMES = ("batch", "batch-scratch", "instance", "layer", "group", "batch-instance")
SHAPES = ((128, 32, 32, 16), (32, 128, 128, 16))  # N, H, W, C: the CIFAR networks' first stage, the birds network's second
HEADER = f"{'norm':16}" + "".join(f"{'x'.join(map(str, shape)):>22}" for shape in SHAPES)


def add_arguments(command):
    common.add_repetitions(command, 15)
    common.add_processes(command, 5, "processes to measure in, one after another")


def run(arguments):
    """Compare our norms, forward and backward, with PyTorch's own operations."""
    demand_torch("norms measures against torch's operations")
    print(f"time of ours / time of PyTorch's, float32: median of {arguments.processes} processes (lowest to highest)")
    print(HEADER)
    for name in NAMES:
        print(row(name, measure(name, arguments.processes, arguments.repetitions)), flush=True)


def measure(name, processes, repetitions):
    """Return our time / PyTorch's time, `(processes, shapes)`: medians over the repetitions of each process."""
    ratios = []
    for _ in range(processes):
        with Worker(name, "torch", "lab.benchmarks.norm_pairs") as worker:
            ratios.append(worker.run(repetitions)["returned"])
    return np.array(ratios)


def row(name, ratios) -> str:
    """Return the line of the table under HEADER; `ratios` is the result of `measure`."""
    cells = (f"{np.median(values):.2f} ({values.min():.2f} to {values.max():.2f})" for values in ratios.T)
    return f"{name:16}" + "".join(f"{cell:>22}" for cell in cells)
