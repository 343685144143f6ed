"""Latency of networks: milliseconds for a batch. Each runtime has a process of its own, and the processes take turns."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field

import numpy as np
import torch

from datasets.catalog import expected
from dispatcher import architecture_of, architecture_options, build_model
from lab.benchmarks.inference import BACKENDS, LABELS, eager, timed
from lab.benchmarks.worker import Worker
from lab.runs.environment import processor
from models.folding import fold_norms

TURN = 10  # calls in a turn; one more call before them wakes the process up and is not counted


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
    def summary(self):
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


def table(latencies):
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


def milliseconds_of(configs, calls=100, warm_ups=10):
    """Return the mean milliseconds for one image of each config's network, on torch, folded, in this process, in turns.

    A network that several configs share is measured once. If the image size of a data set is not known yet, images have the
    config's `image_size` or else the size that the network was made for.
    """
    runners, networks = {}, []
    for config in configs:
        size, options = expected(config.dataset, config.image_size), architecture_options(config)
        image_size = size[1] if size else config.image_size or architecture_of(config.model).image_size
        networks.append((config.model, image_size, *options.items()))
        if networks[-1] not in runners:
            network = fold_norms(build_model(config.model, (image_size, image_size, 3), 10, **options))
            images = np.zeros((1, image_size, image_size, 3), "float32")
            runners[networks[-1]] = eager(network, images, torch.get_num_threads())
            timed(runners[networks[-1]], warm_ups)
    times = {network: [] for network in runners}
    for _ in range(calls // TURN):
        for network, run in runners.items():
            times[network] += timed(run, TURN + 1)[1:]
    return [1e3 * float(np.mean(times[network])) for network in networks]
