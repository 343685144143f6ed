"""Choices of a user of explain.py, checked before Keras is imported: runs and a method."""

from foundation.errors import unknown
from lab.runs.metrics import metrics_of
from lab.runs.run import Run

METHODS = ("grad-cam", "grad-cam++", "hirescam", "layercam")


def check_method(method):
    if method not in METHODS:
        raise unknown("method", method, METHODS)


def run_of(name, output_dir, weights_dir=None) -> Run:
    """Return the run of a name; for a shell wildcard, the finished run with the best accuracy on val. Raises UserError."""
    if not set(name) & set("*?["):
        return Run.find(name, output_dir, weights_dir)
    runs = Run.some_finished(name, output_dir, weights_dir)
    best = max(runs, key=lambda run: metrics_of(run)["val"]["accuracy"])
    print(f"best on val of {len(runs)}: {best.name}")
    return best
