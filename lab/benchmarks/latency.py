"""Latency of networks: milliseconds for a batch. Each runtime has a process of its own, and the processes take turns."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from dispatcher import architecture_of
from foundation.files import as_json, write_file
from lab.benchmarks import arguments as common
from lab.benchmarks.worker import Worker
from lab.engines.fleet import usable_cores
from lab.runs.environment import processor

BACKENDS = {"eager": "torch", "compiled": "torch", "onnx": "torch", "jax": "jax"}  # runtime: KERAS_BACKEND
LABELS = {"eager": "torch eager", "compiled": "torch compiled", "onnx": "ONNX Runtime", "jax": "jax"}
TURN = 10  # calls in a turn; one more call before them wakes the process up and is not counted


def add_arguments(command):
    common.add_models(command)
    common.add_batch(command, 32, "images at once, besides one")
    common.add_image_size(command)
    common.add_classes(command)
    runtimes = tuple(BACKENDS)
    command.add_argument("--runtimes", nargs="+", choices=runtimes, default=runtimes, help="default: all")
    command.add_argument("--fold", action="store_true", help="also measure with norms folded into the convolutions before them")
    command.add_argument(
        "--calls", type=common.count, default=100, help="calls that are timed, in turns of ten (default: %(default)s)"
    )
    command.add_argument(
        "--warm-ups", type=common.count, default=10, help="calls before those that are timed (default: %(default)s)"
    )
    command.add_argument(
        "--threads", type=common.count, default=len(usable_cores()), help="threads of each runtime (default: %(default)s)"
    )
    command.add_argument("--json", type=Path, help="also write the measurements to this file")


def run(arguments):
    """Measure the milliseconds that networks take for one image and for a batch, under several runtimes."""
    names, latencies = common.matching_models(arguments.models), []
    how = arguments.runtimes, (False, True)[: 1 + arguments.fold], arguments.calls, arguments.warm_ups, arguments.threads
    for name in names:
        size = arguments.image_size or architecture_of(name).image_size
        network = {"model": name, "image_size": size, "classes": arguments.classes}
        for batch in dict.fromkeys((1, arguments.batch)):
            latencies += measure(network | {"batch": batch}, *how)
    print("\n" + table(latencies))
    print(f"{arguments.threads} threads; " + ", ".join(dict.fromkeys(latency.device for latency in latencies)))
    if arguments.json:
        write_file(arguments.json, as_json([latency.record() for latency in latencies]))


@dataclass
class Latency:
    """Times of one runtime, one value per call."""

    model: str
    runtime: str
    is_folded: bool
    batch: int
    threads: int
    device: str
    milliseconds: list[float] = field(default_factory=list)

    @property
    def summary(self) -> dict[str, float]:
        """Mean, median and 95th percentile in milliseconds: {"mean", "median", "p95"}."""
        times = self.milliseconds
        return {"mean": float(np.mean(times)), "median": float(np.median(times)), "p95": float(np.percentile(times, 95))}

    def record(self):
        """Return the dict that `--json` writes for this runtime."""
        return asdict(self) | self.summary


def measure(network, runtimes, foldings, calls, warm_ups, threads, report=print):
    """Return a Latency for each runtime and folding, measured in turns of `TURN` calls. Each round starts with another one.

    `network` holds model, image_size, classes and batch. Each process is limited to as many cores as it has threads.
    """
    with ExitStack() as stack:
        contestants = []
        for runtime in runtimes:
            for is_folded in foldings:
                report(f"starting {network['model']}, batch {network['batch']}, {LABELS[runtime]}{', folded' * is_folded}")
                spec = network | {"threads": threads, "fold": is_folded}
                worker = stack.enter_context(Worker(runtime, BACKENDS[runtime], "lab.benchmarks.inference", **spec))
                worker.run(warm_ups)
                device = processor() if runtime == "onnx" else worker.device
                contestants.append((worker, Latency(network["model"], runtime, is_folded, network["batch"], threads, device)))
        done = 0
        while done < calls:
            first = done // TURN % len(contestants)
            turn = min(TURN, calls - done)
            for worker, latency in contestants[first:] + contestants[:first]:
                latency.milliseconds += [1e3 * seconds for seconds in worker.run(turn + 1)["returned"][1:]]
            done += turn
        return [latency for _, latency in contestants]


def table(latencies) -> str:
    """Return the milliseconds per batch as text, and the speed-up of each folded network over the plain one."""
    lines = [f"{'model':22} {'runtime':15} {'norms':7} {'batch':>5} {'mean':>9} {'median':>9} {'p95':>9}  ms"]
    for latency in latencies:
        times = "".join(f" {latency.summary[name]:9.2f}" for name in ("mean", "median", "p95"))
        norms = "folded" if latency.is_folded else "plain"
        lines.append(f"{latency.model:22} {LABELS[latency.runtime]:15} {norms:7} {latency.batch:5}{times}")
    for plain, folded in pairs(latencies):
        low, median, high = np.percentile(turn_ratios(plain, folded), (25, 50, 75))
        what = f"{plain.model}, {LABELS[plain.runtime]}, batch {plain.batch}"
        lines.append(f"{what}: folded {median:.2f} times as fast (quartiles over turns {low:.2f} to {high:.2f})")
    return "\n".join(lines)


def pairs(latencies):
    """Return (plain, folded) pairs of the same model, runtime and batch."""
    both = {}
    for latency in latencies:
        both.setdefault((latency.model, latency.runtime, latency.batch), []).append(latency)
    return [sorted(pair, key=lambda latency: latency.is_folded) for pair in both.values() if len(pair) == 2]


def turn_ratios(plain, folded):
    """Return the ratio of the median times, plain / folded, within each turn."""
    starts = range(0, len(plain.milliseconds), TURN)
    return [np.median(plain.milliseconds[i : i + TURN]) / np.median(folded.milliseconds[i : i + TURN]) for i in starts]
