"""`python train.py --check`: what can be known of a run before it takes hours, in about a minute (Karpathy 2019)."""

from dataclasses import dataclass, replace
from functools import partial
from time import monotonic

from foundation import replicas
from foundation.errors import UserError
from foundation.files import as_json, write_whole
from foundation.grammar import counted
from foundation.paths import typed_path
from foundation.style import image_of
from lab.runs.environment import typed_command
from lab.runs.run import Run
from lab.training.chosen import choose
from lab.training.experiment import load_to_try, network_at_start
from lab.training.memory import within_memory
from lab.trust import cost_checks, data_checks, training_checks
from lab.trust.batch_picture import draw_batch, first_batch
from lab.trust.findings import FAILED, OK, finding
from lab.trust.probe import IMAGES, check_classes, check_labels, probe
from lab.trust.trial import Trial

TRAINING_SECONDS, PROBE_SECONDS, TIMING_SECONDS = 32.0, 6.0, 8.0  # that the parts of a check may take, about
FEWEST_IMAGES = 8  # in a batch of a trial
FORWARD = 1 / 3  # of a training step's time


@dataclass(frozen=True)
class Plan:
    """Steps of the trials: as many as there is time for, within what they need to tell anything."""

    rate: int  # of rising rates
    heart: int  # and at most as many with blank images
    batch_size: int

    @classmethod
    def of(cls, batch_size, image_seconds, seconds):
        """Return the Plan for a network that takes so long for an image; of large ones with smaller batches."""
        images = seconds / max(image_seconds, 1e-9)
        most, fewest = 150 + 100 + 50, 60 + 40 + 20  # a batch is usually known after 20 steps
        batch = int(min(batch_size, max(images / fewest, FEWEST_IMAGES)))
        share = min(images / batch / most, 1.0)
        return cls(max(int(150 * share), 60), max(int(100 * share), 40), batch)


def check(config):
    """Check the run of a config, print a line for each check, write `check.json` and `batch.png`; return the exit code."""
    if replicas.PROCESSES > 1:
        raise UserError("check looks at a run in one process: python train.py --check")
    began, command = monotonic(), typed_command()
    config, dataset = load_to_try(config)
    run = Run.of(config)
    folder = typed_path(config.output_dir) / "check" / run.name
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for each in findings(config, run, dataset, folder):
        found.append(each)
        print(each.line(), flush=True)
    failed = [each.name for each in found if each.verdict == FAILED]
    record = {"run": run.name, "command": command, "seconds": round(monotonic() - began, 1), "failed": failed}
    write_whole(folder, "check.json", as_json(record | {"checks": [each.record() for each in found]}))
    passed = sum(each.verdict == OK for each in found)
    end = f"{counted(len(failed), 'check')} failed: {', '.join(failed)}" if failed else "no check failed"
    print(f"{passed} ok, {end}; {record['seconds']:.0f} s, all in {folder}")
    return 1 if failed else 0


def findings(config, run, dataset, folder):
    """Yield the Finding of each check, the cheap ones first."""
    yield cost_checks.check_transfer(config)
    yield cost_checks.check_precision(config)
    yield data_checks.check_scale(dataset)
    yield data_checks.check_images_differ(dataset)
    yield data_checks.check_folders(dataset)
    yield data_checks.check_mixing(config, dataset)
    yield _picture(config, run, dataset, folder)
    seconds = cost_checks.seconds_of_an_image(config, dataset)
    model = network_at_start(config, None, dataset)
    yield from _probed(model, dataset, seconds)
    yield from within_memory(partial(_tried, seconds), config, run, dataset, model)
    yield cost_checks.check_time(config, dataset, seconds, TIMING_SECONDS)
    yield cost_checks.check_memory(config, dataset)


def _picture(config, run, dataset, folder):
    images, labels = first_batch(config, dataset)
    title = f"First batch of {run.name}"
    write_whole(folder, "batch.png", image_of(draw_batch(images, labels, dataset, title), "png"))
    return finding("batch", True, f"{len(images)} images as the network sees them, with labels: {folder / 'batch.png'}")


def _probed(model, dataset, seconds):
    images = PROBE_SECONDS / max(FORWARD * seconds, 1e-9)
    found = probe(model, dataset, min(images / sum(IMAGES.values()), 1.0))
    yield check_labels(found)
    yield check_classes(found)


def _tried(seconds, config, run, dataset, model):
    plan = Plan.of(min(config.batch_size, len(dataset.train)), seconds, TRAINING_SECONDS)
    trial = Trial(replace(config, batch_size=plan.batch_size), dataset, model)
    chosen = choose(config, len(dataset.train)).init_lr
    edge = training_checks.rising_rate(trial, config, run, plan.rate)
    usual = min(chosen * plan.batch_size / config.batch_size, edge / 3)
    found = list(training_checks.check_first_steps(trial, usual))
    found += training_checks.check_one_batch(trial, usual, plan.heart)
    expected = choose(replace(config, init_lr=0.0), len(dataset.train)).init_lr
    return [*found, training_checks.check_rate(chosen, edge * config.batch_size / plan.batch_size, expected)]
