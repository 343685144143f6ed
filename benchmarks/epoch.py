"""What a whole epoch of a run costs beyond its bare steps: input, augmentation, validation, checkpoint and plot."""

import tempfile
import time
from contextlib import ExitStack

import numpy as np

from benchmarks.contestants import SameBatch
from benchmarks.random_images import data_set, random_split
from config import Config
from training.fitting import Trainer, build
from training.run import Run


def measure(model, batch, precision, train_images, val_images, repetitions, report=print):
    """(seconds of the bare steps of an epoch, seconds of a whole epoch), a pair per repetition, in turns."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        config = Config(
            model=model,
            batch_size=batch,
            precision=precision,
            epochs=repetitions + 1,
            run="epoch",
            output_dir=f"{folder}/output",
            weights_dir=f"{folder}/weights",
        )
        dataset = data_set(random_split(train_images, 32, 10), random_split(val_images, 32, 10), 10)
        run = Run.of(config)
        stack.enter_context(run.writing(config))
        trainer = Trainer(config, run, dataset, build(config, dataset))
        bare = SameBatch(*trainer.batches[0])
        bare.steps = len(trainer.batches)
        pairs = []
        for epoch in range(repetitions + 1):
            whole_seconds = _seconds(lambda: trainer.fit_epochs(epoch, epoch + 1))  # noqa: B023  called at once
            bare_seconds = _seconds(lambda: trainer.model.fit(bare, shuffle=False, verbose=0))
            if epoch:  # the first warms up
                pairs.append((bare_seconds, whole_seconds))
                report(f"epoch {epoch} of {repetitions}: {whole_seconds:.1f} s, its bare steps {bare_seconds:.1f} s")
        return pairs


def _seconds(do):
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def surplus(pairs):
    """How much longer a whole epoch takes than its bare steps, in percent: the median over repetitions."""
    bare, whole = np.array(pairs).T
    return float(np.median(100 * (whole / bare - 1)))
