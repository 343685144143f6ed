"""Training steps of ours, stock Keras and hand-written PyTorch, interleaved in one run."""

import itertools
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.worker import Worker

LABELS = {"ours": "Reslab", "keras": "stock Keras fit", "torch": "hand-written PyTorch"}


@dataclass
class Measurement:
    """One contestant's times, a value per repetition."""

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
        """Of the ms per step."""
        return np.percentile(self.times, (25, 75)).tolist()

    def record(self):
        """What `--json` writes."""
        own = asdict(self) | {"ms_per_step": self.ms_per_step, "images_per_second": self.images_per_second}
        del own["times"]
        return own | {"ms_per_step_quartiles": self.quartiles}


def measure(
    model, batch, precisions, backend, *, image_size=32, classes=10, modes=("eager",), steps=20, repetitions=5, report=print
):
    """A list of Measurements: every contestant warmed up, then in turns, `steps` steps at a time, each round another first."""
    workers = []
    try:
        for precision, name in itertools.product(precisions, LABELS):
            for mode in modes if name == "torch" else ("auto",):
                report(f"starting {LABELS[name]}, {precision}" + (f", {mode}" if name == "torch" else ""))
                own_backend = "torch" if name == "torch" else backend
                network = {"model": model, "image_size": image_size, "classes": classes, "batch": batch}
                workers.append(Worker(name, own_backend, **network, precision=precision, mode=mode))
                workers[-1].run(steps)
        measurements = [
            Measurement(
                **{key: w.spec[key] for key in ("name", "model", "batch", "precision", "mode", "backend")},
                device=w.device,
                times=[],
            )
            for w in workers
        ]
        pairs = list(zip(workers, measurements, strict=True))
        for repetition in range(repetitions):
            first = repetition % len(pairs)
            for worker, measurement in pairs[first:] + pairs[:first]:
                answer = worker.run(steps)
                measurement.times.append(1e3 * answer["seconds"] / steps)
                measurement.peak_memory_mb = answer["peak_memory_mb"]
            report(f"repetition {repetition + 1} of {repetitions}")
        return measurements
    finally:
        for worker in workers:
            worker.__exit__()


def speed_ratio(ours, other):
    """How many times as fast ours is: median and quartiles of the ratios within each repetition."""
    ratios = np.array(other.times) / np.array(ours.times)
    return tuple(float(value) for value in np.percentile(ratios, (50, 25, 75)))


def fastest(measurements, name, precision):
    """The contestant's fastest mode at a precision."""
    return min((m for m in measurements if m.name == name and m.precision == precision), key=lambda m: m.ms_per_step)
