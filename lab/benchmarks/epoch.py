"""Overhead of a whole epoch of a run over its bare steps: input, augmentation, validation, checkpoint and plot.

Keras is imported only when it is measured.
"""

import tempfile
from contextlib import ExitStack

import numpy as np

import dispatcher
from foundation.settings import Config
from foundation.stopwatch import seconds_of
from lab.benchmarks import arguments as common
from lab.benchmarks.random_images import data_set, random_split
from lab.runs.run import Run


def add_arguments(command):
    common.add_model(command)
    common.add_batch(command)
    common.add_repetitions(command, 3)
    common.add_precision(command)
    command.add_argument(
        "--train-images", type=common.count, default=45_000, help="train images, of 32x32 pixels (default: %(default)s)"
    )
    command.add_argument("--val-images", type=common.count, default=5_000, help="val images (default: %(default)s)")


def run(arguments):
    """Measure a whole epoch (augmentation, validation, checkpoint, plot) against its bare steps; also with gradients recorded."""
    dispatcher.architecture_of(arguments.model)
    sizes = arguments.train_images, arguments.val_images
    triples = measure(arguments.model, arguments.batch, arguments.precision, *sizes, arguments.repetitions)
    whole, recorded = surpluses(triples)
    print(f"a whole epoch takes {whole:+.1f} % time over its bare steps (median)")
    print(f"recording gradients (--track-gradients) takes {recorded:+.1f} % more (median)")


def measure(model, batch, precision, train_images, val_images, repetitions, report=print):
    """Return seconds of each repetition, in turns: (an epoch's bare steps, a whole epoch, one that records gradients)."""
    from lab.benchmarks.contestants import SameBatch

    dataset = data_set(random_split(train_images, 32, 10), random_split(val_images, 32, 10), 10)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        whole, recorded = (
            trainer_of(
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
                seconds_of(lambda: whole.model.fit(bare, shuffle=False, verbose=0)),
                *(seconds_of(lambda: trainer.fit_epochs(epoch, epoch + 1)) for trainer in (whole, recorded)),  # noqa: B023  called at once
            )
            if epoch:  # the first warms up
                triples.append(seconds)
                what = "bare steps {:.1f} s, whole {:.1f} s, with gradients recorded {:.1f} s".format(*seconds)
                report(f"epoch {epoch} of {repetitions}: {what}")
        return triples


def trainer_of(stack, dataset, config):
    """Return the Trainer of a config's run, which is held until the ExitStack is closed."""
    from lab.training.fitting import Trainer, build

    run = Run.of(config)
    stack.enter_context(run.writing(config))
    return Trainer(config, run, dataset, build(config, dataset))


def surpluses(triples) -> tuple[float, float]:
    """Return two overheads in percent, each the median over repetitions.

    The first is that of a whole epoch over its bare steps, the second that of recording gradients over a whole epoch.
    """
    bare, whole, recorded = np.array(triples).T
    return float(np.median(100 * (whole / bare - 1))), float(np.median(100 * (recorded / whole - 1)))
