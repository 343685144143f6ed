"""Overhead of a whole epoch of a run over its bare steps: input, augmentation, validation, checkpoint and plot."""

import tempfile
import time
from contextlib import ExitStack

import numpy as np

from foundation.settings import Config
from lab.benchmarks.contestants import SameBatch
from lab.benchmarks.random_images import data_set, random_split
from lab.runs.run import Run
from lab.training.fitting import Trainer, build


def measure(model, batch, precision, train_images, val_images, repetitions, report=print):
    """Return seconds of each repetition, in turns: (an epoch's bare steps, a whole epoch, one that records gradients)."""
    dataset = data_set(random_split(train_images, 32, 10), random_split(val_images, 32, 10), 10)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        whole, recorded = (
            _trainer(
                stack,
                dataset,
                Config(
                    model=model,
                    batch_size=batch,
                    precision=precision,
                    epochs=repetitions + 1,
                    track_gradients=records,
                    run=f"epoch-{records}",
                    output_dir=f"{folder}/output",
                    weights_dir=f"{folder}/weights",
                ),
            )
            for records in (False, True)
        )
        bare = SameBatch(*whole.batches[0])
        bare.steps = len(whole.batches)
        triples = []
        for epoch in range(repetitions + 1):
            seconds = (
                _seconds(lambda: whole.model.fit(bare, shuffle=False, verbose=0)),
                *(_seconds(lambda: trainer.fit_epochs(epoch, epoch + 1)) for trainer in (whole, recorded)),  # noqa: B023  called at once
            )
            if epoch:  # the first warms up
                triples.append(seconds)
                what = "bare steps {:.1f} s, whole {:.1f} s, with gradients recorded {:.1f} s".format(*seconds)
                report(f"epoch {epoch} of {repetitions}: {what}")
        return triples


def _trainer(stack, dataset, config):
    run = Run.of(config)
    stack.enter_context(run.writing(config))
    return Trainer(config, run, dataset, build(config, dataset))


def _seconds(do):
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def surpluses(triples):
    """Return two overheads in percent, each the median over repetitions.

    The first is that of a whole epoch over its bare steps, the second that of recording gradients over a whole epoch.
    """
    bare, whole, recorded = np.array(triples).T
    return float(np.median(100 * (whole / bare - 1))), float(np.median(100 * (recorded / whole - 1)))
