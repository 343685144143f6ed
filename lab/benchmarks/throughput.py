"""Training steps of ours, stock Keras and hand-written PyTorch, interleaved in one run."""

import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import dispatcher
from foundation import devices
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
    command.add_argument("--json", type=Path, help="also write the measurements to this file")
    command.add_argument("--plot", type=Path, default=Path("output/benchmark/throughput.png"), help="default: %(default)s")


def run(arguments):
    """Compare training steps of Reslab, of stock Keras `fit` and of a hand-written PyTorch loop."""
    check_twins(dispatcher.architecture_of(arguments.model))
    from foundation.style import image_of
    from lab.benchmarks.figures import draw_throughput

    turns = list(dict.fromkeys(arguments.precision)), os.environ["KERAS_BACKEND"], arguments.steps, arguments.repetitions
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
    peak_memory_mb: float = 0.0

    @property
    def ms_per_step(self):
        return float(np.median(self.times))

    @property
    def images_per_second(self):
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


def measure_batches(network, batches, precisions, backend, steps, repetitions):
    """Return the Measurements of `measure` at each batch size, and print their table as soon as it is known."""
    measurements = []
    for batch in batches:
        found = measure(network | {"batch": batch}, precisions, backend, steps, repetitions)
        print(f"\nbatch {batch}\n{table(found)}\n", flush=True)
        measurements += found
    return measurements


def measure(network, precisions, backend, steps, repetitions, report=print):
    """Return a Measurement of every contestant. All are warmed up and then take turns; each round starts with another one.

    A turn is `steps` steps, or as many as take TURN seconds. `network` is what `make_contestant` takes: model,
    image_size, classes, batch. On a GPU PyTorch competes in all its modes, and ours also with augmentation. All
    processes start at once and are timed one at a time.
    """
    with ExitStack() as stack:
        line_up, workers = _line_up(precisions), []
        for name, precision, mode in line_up:
            report(f"starting {LABELS[name]}, {precision}, {mode}")
            spec = network | {"precision": precision, "mode": mode}
            workers.append(stack.enter_context(Worker(name, "torch" if name == "torch" else backend, **spec)))
        contestants = []
        for worker, (name, precision, mode) in zip(workers, line_up, strict=True):
            worker.run(steps)
            counted = max(steps, round(TURN / (worker.run(steps)["seconds"] / steps)))
            what = name, network["model"], network["batch"], precision, mode, worker.backend, worker.device
            contestants.append((worker, counted, Measurement(*what, times=[])))
        for repetition in range(repetitions):
            first = repetition % len(contestants)
            for worker, counted, measurement in contestants[first:] + contestants[:first]:
                answer = worker.run(counted)
                measurement.times.append(1e3 * answer["seconds"] / counted)
                measurement.peak_memory_mb = answer["peak_memory_mb"]
            report(f"repetition {repetition + 1} of {repetitions}")
        return [measurement for *_, measurement in contestants]


def _line_up(precisions):
    modes = {"ours": ("auto",), "keras": ("auto",), "torch": ("eager",)}
    if devices.uses_cuda():
        modes |= {"training": ("auto",), "torch": ("eager", "compile", "graph", "compile+graph")}
    return [(name, precision, mode) for precision in precisions for name in LABELS for mode in modes.get(name, ())]


def speed_ratio(ours, other):
    """Return our speed relative to another's: median and quartiles of the ratios within each repetition."""
    ratios = np.array(other.times) / np.array(ours.times)
    return tuple(float(value) for value in np.percentile(ratios, (50, 25, 75)))


def fastest(measurements, name, precision):
    """Return the measurement of the contestant's fastest mode at a precision."""
    return min((m for m in measurements if m.name == name and m.precision == precision), key=lambda m: m.ms_per_step)


def table(measurements):
    """Return the measurements and the ratios between them, as text."""
    lines = [f"{'contestant':22} {'precision':15} {'mode':13} {'ms/step':>8} {'quartiles':>15} {'images/s':>9} {'memory MB':>10}"]
    for m in measurements:
        low, high = m.quartiles
        lines.append(
            f"{LABELS[m.name]:22} {m.precision:15} {m.mode:13} {m.ms_per_step:8.2f} {low:7.2f}-{high:<7.2f} "
            f"{m.images_per_second:9,.0f} {m.peak_memory_mb:10,.0f}"
        )
    lines.append("")
    precisions = list(dict.fromkeys(m.precision for m in measurements))
    for precision in precisions:
        for name in ("torch", "keras"):
            pair = fastest(measurements, "ours", precision), fastest(measurements, name, precision)
            lines.append(_ratio_line(f"ours / {LABELS[name]}, {precision}", *pair))
    if len(precisions) > 1:
        best = min((fastest(measurements, "ours", precision) for precision in precisions), key=lambda m: m.ms_per_step)
        stock = fastest(measurements, "keras", "float32")
        lines.append(_ratio_line(f"ours in {best.precision} / {LABELS['keras']} in float32", best, stock))
    return "\n".join(lines)


def _ratio_line(what, ours, other):
    median, low, high = speed_ratio(ours, other)
    memory = ours.peak_memory_mb / other.peak_memory_mb
    return f"{what + ':':58} {median:.2f} times as fast ({low:.2f} to {high:.2f}), {memory:.2f} of its memory"
