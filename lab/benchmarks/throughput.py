"""Training steps of ours, stock Keras and hand-written PyTorch, interleaved in one run."""

import os
import shutil
import sysconfig
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import dispatcher
from foundation import devices
from foundation.backend import BACKENDS
from foundation.backend import name as name_of_backend
from foundation.files import as_json, write_file
from lab.benchmarks import arguments as common
from lab.benchmarks.twins import check_twins
from lab.benchmarks.worker import Worker

LABELS = {
    "ours": "Reslab",
    "training": "Reslab, augmenting",
    "keras": "stock Keras fit",
    "torch": "hand-written PyTorch",
}
MODES = {"graph": "captured", "compile": "compiled", "compile+graph": "compiled and captured", "eager": "eager"}
TURN = 0.3  # minimum seconds of a turn
FEW = 5  # a long turn has so many times the steps of a short one, and one time more


def add_arguments(command):
    common.add_model(command)
    command.add_argument(
        "--batch", type=common.count, nargs="+", default=[128], help="images per step, one or several (default: 128)"
    )
    common.add_image_size(command, 32)
    common.add_classes(command)
    common.add_steps(command, 20, "steps in a turn")
    common.add_repetitions(command)
    command.add_argument("--precision", choices=common.PRECISIONS, nargs="+", default=common.PRECISIONS, help="default: both")
    backends = "of Reslab and of stock Keras (default: KERAS_BACKEND)"
    command.add_argument("--backends", choices=BACKENDS, nargs="+", default=[name_of_backend()], help=backends)
    command.add_argument("--json", type=Path, help="also write the measurements to this file")
    command.add_argument("--plot", type=Path, default=Path("output/benchmark/throughput.png"), help="default: %(default)s")


def run(arguments):
    """Compare training steps of Reslab, of stock Keras `fit` and of a hand-written PyTorch loop."""
    check_twins(dispatcher.architecture_of(arguments.model))
    from foundation.style import image_of
    from lab.benchmarks.figures import draw_throughput

    rivals = list(dict.fromkeys(arguments.precision)), list(dict.fromkeys(arguments.backends))
    turns = *rivals, arguments.steps, arguments.repetitions
    measurements = measure_batches(common.network_of(arguments), dict.fromkeys(arguments.batch), *turns)
    if arguments.json:
        write_file(arguments.json, as_json([measurement.record() for measurement in measurements]))
    write_file(arguments.plot, image_of(draw_throughput(measurements), "png"))
    print(f"drawn in {arguments.plot}")


@dataclass
class Measurement:
    """Times of one contestant, one value per repetition."""

    name: str
    model: str
    batch: int
    precision: str
    mode: str
    backend: str
    device: str
    times: list[float]  # ms per step
    start_seconds: float = 0.0  # until the end of the first step: imports, building, tracing, compiling
    peak_memory_mb: float = 0.0

    @property
    def ms_per_step(self) -> float:
        return float(np.median(self.times))

    @property
    def images_per_second(self) -> float:
        return 1e3 * self.batch / self.ms_per_step

    @property
    def quartiles(self):
        """Lower and upper quartile of the ms per step."""
        return np.percentile(self.times, (25, 75)).tolist()

    def record(self):
        """Return the dict that `--json` writes for this contestant."""
        own = asdict(self) | {"ms_per_step": self.ms_per_step, "images_per_second": self.images_per_second}
        del own["times"]
        return own | {"ms_per_step_quartiles": self.quartiles}


def measure_batches(network, batches, precisions, backends, steps, repetitions):
    """Return the Measurements of `measure` at each batch size, and print their table as soon as it is known."""
    measurements = []
    for batch in batches:
        found = measure(network | {"batch": batch}, precisions, backends, steps, repetitions)
        print(f"\nbatch {batch}\n{table(found)}\n", flush=True)
        measurements += found
    return measurements


def measure(network, precisions, backends, steps, repetitions, report=print):
    """Return a Measurement of every contestant. All are warmed up and then take turns; each round starts with another one.

    `network` is what `make_contestant` takes: model, image_size, classes, batch. On a GPU PyTorch competes in all its modes, and
    ours also with augmentation. Processes start one after another, and one at a time computes.
    """
    with ExitStack() as stack:
        contestants = []
        for name, backend, precision, mode in line_up(precisions, backends):
            report(f"starting {LABELS[name]}, {backend}, {precision}, {mode}")
            worker = stack.enter_context(Worker(name, backend, **network, precision=precision, mode=mode))
            seconds = worker.start()
            counted = steps_of_a_turn(worker, steps)
            what = name, network["model"], network["batch"], precision, mode, backend, worker.device
            contestants.append((worker, counted, Measurement(*what, times=[], start_seconds=seconds)))
        for repetition in range(repetitions):
            first = repetition % len(contestants)
            for worker, counted, measurement in contestants[first:] + contestants[:first]:
                seconds, measurement.peak_memory_mb = marginal_seconds(worker, counted)
                measurement.times.append(1e3 * seconds)
            report(f"repetition {repetition + 1} of {repetitions}")
        return [measurement for *_, measurement in contestants]


def steps_of_a_turn(worker, steps):
    """Warm a worker up and return the steps of its turns: so many, or as many more as TURN seconds hold."""
    worker.run(steps)
    return max(steps, round(TURN / (worker.run(steps)["seconds"] / steps)))


def marginal_seconds(worker, steps):
    """Return the seconds of a step, and the peak memory in MB: a turn less a short one, so that what a call costs counts not."""
    few = max(steps // FEW, 1)
    short, long = worker.run(few), worker.run(few + steps)
    return (long["seconds"] - short["seconds"]) / steps, long["peak_memory_mb"]


def line_up(precisions, backends):
    """Return (name, backend, precision, mode) of every contestant; the hand-written loop runs on torch alone."""
    modes = {"ours": ("auto",), "keras": ("auto",), "torch": ("eager", "compile") if has_compiler() else ("eager",)}
    if devices.uses_cuda():
        modes |= {"training": ("auto",), "torch": ("eager", "compile", "graph", "compile+graph")}
    return [
        (name, backend, precision, mode)
        for precision in precisions
        for name in LABELS
        for backend in (("torch",) if name == "torch" else backends)
        for mode in modes.get(name, ())
    ]


def has_compiler() -> bool:
    """Return whether torch.compile finds what it needs on a CPU: a C++ compiler and Python's headers."""
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return bool(shutil.which(os.environ.get("CXX", "g++"))) and headers.is_file()


def speed_ratio(ours, other):
    """Return our speed relative to another's: median and quartiles of the ratios within each repetition."""
    ratios = np.array(other.times) / np.array(ours.times)
    return tuple(float(value) for value in np.percentile(ratios, (50, 25, 75)))


def fastest(measurements, name, precision, backend):
    """Return the measurement of the contestant's fastest mode at a precision on a backend."""
    found = [m for m in measurements if (m.name, m.precision, m.backend) == (name, precision, backend)]
    return min(found, key=lambda m: m.ms_per_step)


def table(measurements) -> str:
    """Return the measurements and the ratios between them, as text."""
    columns = f"{'precision':15} {'mode':21} {'ms/step':>8} {'quartiles':>17} {'images/s':>9} {'memory MB':>10} {'start s':>8}"
    lines = [f"{'contestant':22} {'backend':11} {columns}"]
    for m in measurements:
        low, high = m.quartiles
        lines.append(
            f"{LABELS[m.name]:22} {m.backend:11} {m.precision:15} {MODES.get(m.mode, m.mode):21} {m.ms_per_step:8.2f} "
            f"{low:8.2f}-{high:<8.2f} {m.images_per_second:9,.0f} {m.peak_memory_mb:10,.0f} {m.start_seconds:8.1f}"
        )
    return "\n".join([*lines, "", *_ratio_lines(measurements)])


def _ratio_lines(measurements):
    """Yield ours against its rivals: on each backend against stock Keras there, and on the first against hand-written PyTorch."""
    precisions, backends = (list(dict.fromkeys(getattr(m, of) for m in measurements)) for of in ("precision", "backend"))
    backends = [backend for backend in backends if any(m.name == "ours" and m.backend == backend for m in measurements)]
    for precision in precisions:
        for backend in backends:
            ours, where = fastest(measurements, "ours", precision, backend), f"{precision}, {backend}"
            if backend == backends[0]:
                torch = fastest(measurements, "torch", precision, "torch")
                yield _ratio_line(f"ours / {LABELS['torch']} ({MODES[torch.mode]}), {where}", ours, torch)
            yield _ratio_line(f"ours / {LABELS['keras']}, {where}", ours, fastest(measurements, "keras", precision, backend))
    if len(precisions) > 1:
        for backend in backends:
            best = min((fastest(measurements, "ours", each, backend) for each in precisions), key=lambda m: m.ms_per_step)
            stock = fastest(measurements, "keras", "float32", backend)
            yield _ratio_line(f"ours in {best.precision} / {LABELS['keras']} in float32, {backend}", best, stock)


def _ratio_line(what, ours, other):
    median, low, high = speed_ratio(ours, other)
    memory = ours.peak_memory_mb / other.peak_memory_mb
    return f"{what + ':':76} {median:.2f} times as fast ({low:.2f} to {high:.2f}), {memory:.2f} of its memory"
