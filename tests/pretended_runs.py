"""Runs of studies that are not trained: an engine of a test leaves their results at once."""

import time
from dataclasses import asdict


class Ended:
    """A process that has ended."""

    def poll(self):
        return 0

    def terminate(self):
        pass

    wait = terminate


class PretendingEngine:
    """Engine whose `finish(config, planned)` leaves what a finished run leaves; it is interrupted after `stop_after` runs.

    `identity(config)` is what `begun` keeps of each run.
    """

    jobs = 100

    def __init__(self):
        self.begun, self.stop_after = [], None

    def start(self, planned):
        if len(self.begun) == self.stop_after:
            raise KeyboardInterrupt
        self.begun.append(self.identity(planned.config))
        self.finish(planned.config, planned)
        return Ended()


def replace_engine(monkeypatch, engine):
    """Let studies start their runs by this engine, without waiting for them; return it."""
    monkeypatch.setattr("lab.studies.running.engine_of", lambda arguments, runs: engine)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return engine


def leave_result(planned, accuracies):
    """Leave what a finished run leaves, with these accuracies of splits as shares."""
    splits = {
        split: {"loss": 1.0, "accuracy": share, "f1_micro": share, "f1_macro": share, "images": 1000}
        for split, share in accuracies.items()
    }
    numbers = {"epochs": 2, "best_epoch": 2, "params": 100, "macs": 1000, "seconds": 6.0, "images_per_second": 90.0}
    machine = {"device": "a CPU", "threads": 1, "cores": 2, "backend": "torch", "versions": {}, "git_commit": "0" * 40}
    files = {"config": asdict(planned.config), "history": {"epoch": [1, 2]}, "metrics": numbers | splits, "environment": machine}
    for name, content in files.items():
        planned.run.write_json(f"{name}.json", content)
