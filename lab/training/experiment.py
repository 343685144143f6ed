"""A whole experiment: `train.py` runs it and `evaluate.py` measures it."""

import contextlib
import re
from dataclasses import replace

from callbacks.checkpoint import Interrupted
from callbacks.schedules import warmup_note
from datasets.access import looking
from datasets.batches import Batches
from datasets.catalog import load_as
from datasets.class_counts import notes_on_counts
from foundation import replicas
from foundation.errors import RunFailure, UserError, is_of_the_system, printable
from foundation.files import write_whole
from foundation.paths import typed_path
from foundation.randomness import generator
from foundation.style import image_of
from lab.runs.checkpoints import list_checkpoints, load_best, newest_whole, read_state
from lab.runs.environment import typed_command
from lab.runs.metrics import Metrics, metrics_of
from lab.runs.naming import choose, next_name_told
from lab.runs.predictions import FILE, SPLITS, Predictions, write_predictions
from lab.runs.run import NameTaken, Run
from lab.training.backends import choose_kernels
from lab.training.chosen import describe, with_batch_size
from lab.training.classifier import Classifier
from lab.training.ensembles import average_checkpoints, predict_views
from lab.training.evaluation import (
    confusion_matrix,
    describe_overlap,
    measure,
    measure_without_shared,
    most_confused,
    predict,
    read_overlap,
    share_of_batches,
)
from lab.training.figures import draw_confusion
from lab.training.fitting import build, check_images, fit, origin_of
from lab.training.memory import within_memory
from lab.training.metrics_table import print_splits, print_table
from lab.training.precision import fewest_pixels, note_on_emulation, settle
from lab.training.rate_finder import draw_rates, find_rate
from lab.training.transfer import check_source, take_weights
from models.costs import count_macs


def train(config):
    """Train the run of a config, or what is left of it, and measure it; return the exit code."""
    choose_kernels(config.deterministic)  # before processes join, which starts the devices of jax
    with replicas.joined():
        return _train(config)


def _train(config):
    fewest = fewest_pixels()
    with replicas.local_rank_zero_first():
        Classifier.check_execution(config.execution)
        dataset = load_checked(config)
        choice = choose(config, origin_of(dataset))
        config = settle(config, dataset.train.images.shape, fewest, choice.run)
        with next_name_told(config):
            choice.run.check(config)
        is_finished = _is_finished(choice.run, config, dataset)
        model = None if is_finished else network_at_start(config, choice.run, dataset)
    if is_finished:
        with replicas.local_rank_zero_first(), next_name_told(config), choice.run.writing(config):
            pass  # writing() records where the run lies now
        return _show_finished(choice.run, dataset.class_names)
    with contextlib.ExitStack() as held:
        with replicas.local_rank_zero_first():
            choice = hold(held, choice, config, dataset)
        run = choice.run
        held.enter_context(_faults_of_the_system(config, run))
        _introduce(config, choice, dataset)
        try:
            within_memory(fit, config, run, dataset, model)
        except Interrupted as interruption:
            print(f"\nstopped with everything written; go on with: {_same_command(config)}", flush=True)
            return interruption.exit_code
        evaluate(run, dataset)
        if choice.before:
            print(choice.comparison())
    return 0


def hold(held, choice, config, dataset):
    """Hold the chosen run, or the next one if another process has just taken a name that no user gave; return the Choice."""
    with next_name_told(config):
        while True:
            try:
                held.enter_context(choice.run.writing(config))
                return choice
            except NameTaken:
                again = choose(config, origin_of(dataset))
                if replicas.PROCESSES > 1 or again.run.name == choice.run.name:
                    raise
                choice = again


def _is_finished(run, config, dataset):
    """Return whether the same command has nothing left to do: the run has its result, from the same data."""
    if config.start_epoch is not None or config.resume == "never":
        return False
    try:
        if not run.is_finished(config):
            return False
    except UserError:  # damaged: measured anew
        return False
    if not (found := newest_whole(run.weights)):
        return False
    state = read_state(found[1])
    return all(state.get(name) == value for name, value in origin_of(dataset).items())


def _show_finished(run, class_names):
    metrics = metrics_of(run)
    print(f"run '{run.name}' is finished; with another --seed, other settings or --run NAME it is a new one")
    print_table(run, metrics, class_names)
    return 0


def find_learning_rate(config):
    """Train the network of a config for a moment with rising rates; print a suggested rate and draw how it was found."""
    if replicas.PROCESSES > 1:
        raise UserError("find_lr looks for a rate in one process: python train.py --find-lr")
    config, dataset = load_to_try(config)
    model = network_at_start(config, None, dataset)
    run = Run.of(config)
    *curves, suggestion = within_memory(find_rate, config, run, dataset, model)
    folder, picture = typed_path(config.output_dir) / "find-lr", f"{run.name}.png"
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{config.model} on {dataset.name}, {config.optimizer}, batches of {config.batch_size}"
    write_whole(folder, picture, image_of(draw_rates(*curves, suggestion=suggestion, title=title), "png"))
    print(f"--init-lr {suggestion:g} (at ten times that, the loss was about to rise); drawn in {folder / picture}")
    return 0


def load_checked(config):
    """Return the data set of a config. Raises UserError if its images are too small for augmentation or for the network."""
    dataset = load_as(config)
    check_images(config, dataset)
    return dataset


def load_to_try(config):
    """Return (config whose precision and batch size are settled, its data set) for trials that leave no run. Raises UserError."""
    dataset = load_checked(config)
    shape = dataset.train.images.shape
    return with_batch_size(settle(config, shape, fewest_pixels()), shape[0]), dataset


def network_at_start(config, run, dataset) -> Classifier:
    """Return the network of a config, with the weights that it starts from unless `run` has a checkpoint to resume."""
    model = build(config, dataset)
    if config.init_from and not (run and newest_whole(run.weights, config.start_epoch)):
        check_source(config, dataset)
        take_weights(model, config, dataset.class_names)
    return model


@contextlib.contextmanager
def _faults_of_the_system(config, run):
    """Turn a full disk, or a folder that vanished or became read-only, into a RunFailure of one line. Written files stay."""
    try:
        yield
    except BrokenPipeError:  # the reader of our output has left; scripts.run_script handles that
        raise
    except OSError as error:
        if not is_of_the_system(error):
            raise
        written = list_checkpoints(run.weights)
        stands = f"checkpoint {written[-1].name} is whole" if written else "no checkpoint was written yet"
        raise RunFailure(f"{error}; {stands}, and the same command goes on: {_same_command(config)}") from error


def _same_command(config):
    """Return the typed command without a start_epoch of its own or of config.py: resuming must not go back once more."""
    typed = re.sub(r" --start[-_]epoch[ =]\S+", "", typed_command())
    return typed if config.start_epoch is None else f"{typed} --start-epoch None"


def _introduce(config, choice, dataset):
    warmup = warmup_note(config.schedule, config.warmup_epochs, config.epochs)
    shared = dataset.overlap.notes({name: len(split) for name, split in dataset.splits.items()})
    for note in filter(None, [*dataset.notes, *shared, warmup, note_on_emulation(config)]):
        print(f"note: {note}")
    sizes = ", ".join(f"{len(getattr(dataset, name)):,} {name}" for name in ("train", "val", "test"))
    computed = f"{config.precision}, {origin_of(dataset)['backend']}"
    print(f"{config.model} on {dataset.name}: {sizes}, {dataset.classes} classes, {computed}")
    for line in notes_on_counts(dataset, config.class_weights):
        print(printable(line))
    if chosen := describe(config, len(dataset.train)):
        print(chosen)
    print(f"{choice.introduction()}watch {choice.run.output / 'training.png'}", flush=True)


def load_data(run):
    """Return the data set of a run. Downloads nothing: a run that is looked at may come from anybody. Raises UserError."""
    with looking():
        return replace(load_as(run.read_config()), name=run.read_settings().dataset)


def load_trained(run, dataset=None):
    """Return (data set, model with the weights of the best epoch on val, the run's newest state). Raises UserError."""
    config = run.read_config()
    dataset = load_data(run) if dataset is None else dataset
    model = build(config, dataset)
    state = load_best(run, model)
    if state.get("data") != dataset.fingerprint:
        raise UserError(f"the content of data set '{dataset.name}' has changed since run '{run.name}' was trained on it")
    return dataset, model, state


def evaluate(run, dataset=None) -> Metrics:
    """Measure the best weights of a run on whole splits without augmentation.

    Writes `predictions.npz`, `overlap.json`, `confusion.png` and, last, `metrics.json`.
    """
    with replicas.local_rank_zero_first():
        dataset, model, state = load_trained(run, dataset)
    measured, predictions = {}, {}
    for name, split in dataset.splits.items():
        logits = replicas.gather_rows(predict(model, share_of_batches(dataset, split)))
        measured[name] = measure(logits, split.labels)
        predictions[name] = Predictions.of(logits, split)
    confusion = confusion_matrix(logits, dataset.test.labels)
    seconds, images = state["progress"]["seconds"], state["progress"]["images"]
    metrics: Metrics = {
        "train": measured["train"],
        "val": measured["val"],
        "test": measured["test"],
        "epochs": state["epoch"],
        "best_epoch": state["best"]["epoch"] + 1,
        "seconds": seconds,
        "images_per_second": images / seconds if seconds else 0.0,
        "params": model.count_params(),
        "macs": count_macs(model),
        "most_confused": most_confused(confusion, dataset.class_names),
    }
    without = measure_without_shared(logits, dataset)
    size = write_predictions(run, {name: predictions[name] for name in SPLITS})
    run.write_json("overlap.json", dataset.overlap.record() | {"test_without_shared": without})
    run.write_figure("confusion.png", draw_confusion(confusion, dataset.class_names, f"{run.name}: test"))
    run.write_json("metrics.json", metrics)  # the last: with it the run counts as finished
    print_table(run, metrics, dataset.class_names)
    print(f"logits of val and test are in {FILE} ({size / 1e3:,.0f} kB)")
    if dataset.overlap.is_shared.any():
        print(describe_overlap(read_overlap(run), metrics))
    return metrics


def evaluate_views(run):
    """Measure with test-time augmentation; write `metrics-tta.json` beside the plain `metrics.json`."""
    dataset, model, _ = load_trained(run)
    title = "mean of several views of an image"
    _measure_beside(run, "tta", title, dataset, lambda s: predict_views(model, dataset, s))


def evaluate_average(run):
    """Measure the mean of the kept checkpoints' weights; write `metrics-average.json` beside the plain `metrics.json`."""
    dataset, model, _ = load_trained(run)
    config = run.read_config()
    # Stored images often lie class by class, and the statistics of a batch of one class are not those of a mixture.
    order = generator(config.seed, "average of checkpoints").permutation(len(dataset.train))
    count = average_checkpoints(run, model, Batches(dataset, dataset.train.select(order), config.batch_size))
    title = f"mean of the weights of {count} checkpoints"
    _measure_beside(run, "average", title, dataset, lambda s: predict(model, Batches(dataset, s)))


def _measure_beside(run, kind, title, dataset, predicted):
    splits = {"val": dataset.val, "test": dataset.test}
    metrics = {name: measure(predicted(split), split.labels) for name, split in splits.items()}
    run.write_json(f"metrics-{kind}.json", metrics | {"what": title})
    print(f"\nbeside it, {title}:")
    print_splits(metrics, dataset.class_names)
