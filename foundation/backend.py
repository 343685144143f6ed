"""Keras' backend: its choice, which has to be made before Keras is imported, its name, and what the others can't do."""

import os
from dataclasses import dataclass

from foundation.errors import UserError, unknown
from foundation.files import keep_libraries_private
from foundation.quiet_import import import_tensorflow_quietly


@dataclass(frozen=True)
class Traits:
    """Differences between backends that code outside of the computation asks about.

    `batches_divided_by` says who gives each device its share of a batch: "processes" (each computes its own), "compiler" (every
    process hands over whole batches), or None where a run has one device. `has_executions`: a step can be run in several ways.
    """

    batches_divided_by: str | None
    has_executions: bool = False


TRAITS = {"torch": Traits("processes", has_executions=True), "jax": Traits("compiler"), "tensorflow": Traits(None)}
BACKENDS = tuple(TRAITS)


def select_backend():
    """Select PyTorch, unless the environment variable KERAS_BACKEND names another, and let libraries be quiet neighbours."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keep_libraries_private()
    # Waiting threads spin for some microseconds and then sleep. By default they spin on, and beside other work on the cores they
    # slow one another; threads that sleep at once wake too late where nothing else runs.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # read once, when torch is imported
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no start-up messages of TensorFlow
    # By default TensorFlow takes oneDNN's kernels on some processors only. On one with AVX2, a step of ResNet-20 took 2.8 times
    # as long without them.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    import_tensorflow_quietly(for_keras=name() == "tensorflow")


def check_backend():
    """Select the backend. Raises UserError if KERAS_BACKEND names none."""
    select_backend()
    if name() not in BACKENDS:
        raise unknown("KERAS_BACKEND", name(), BACKENDS)


def name() -> str:
    """Return the backend's name, one of BACKENDS. Everything that asks, asks here: Keras need not be imported for it."""
    return os.environ.get("KERAS_BACKEND", "torch")


def traits() -> Traits:
    """Return the traits of the backend; of torch where KERAS_BACKEND names none that there is."""
    return TRAITS.get(name(), TRAITS["torch"])


def demand_torch(why):
    """Raise a UserError unless the backend is torch."""
    if name() != "torch":
        raise UserError(f"{why}: KERAS_BACKEND must be torch")
