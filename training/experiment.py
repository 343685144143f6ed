"""A whole experiment, as `train.py` runs it and `evaluate.py` measures it."""

import contextlib
import re
from dataclasses import replace

import keras

import devices
import replicas
from callbacks.checkpoint import Interrupted
from callbacks.progress import duration
from datasets.access import looking
from datasets.batches import Batches
from errors import RunFailure, UserError, is_of_the_system, printable
from models.costs import count_macs
from paths import typed_path
from training.checkpoints import list_checkpoints, load_best, newest_whole
from training.chosen import describe
from training.classifier import Classifier
from training.determinism import choose_kernels
from training.ensembles import average_checkpoints, predict_views
from training.environment import typed_command
from training.evaluation import (
    confusion_matrix,
    describe_overlap,
    measure,
    measure_without_shared,
    most_confused,
    predict,
    read_overlap,
)
from training.figures import draw_confusion
from training.fitting import build, check_images, fit, load_dataset, share_of_batches
from training.memory import within_memory
from training.rate_finder import draw_rates, find_rate
from training.run import Run, image_of, write_whole
from training.transfer import check_source, take_weights


def train(config):
    """Trains the run of a config, or what is left of it, and measures it; returns the exit code."""
    choose_kernels(config.deterministic)  # before processes meet, which on jax starts its devices
    with replicas.joined():
        return _train(config, Run.of(config))


def _train(config, run):
    with replicas.preparing():
        run.check(config)
        Classifier.check_execution(config.execution, config.optimizer)
        begins = not (config.init_from and newest_whole(run.weights, config.start_epoch))
        dataset, model = _prepare(config, begins)
    with contextlib.ExitStack() as held:
        with replicas.preparing():
            held.enter_context(run.writing(config))
        held.enter_context(_faults_of_the_system(config, run))
        _introduce(config, run, dataset)
        try:
            within_memory(fit, config, run, dataset, model)
        except Interrupted as interruption:
            print(f"\nstopped with everything written; go on with: {_same_command(config)}", flush=True)
            return interruption.exit_code
        evaluate(run, dataset)
    return 0


def find_learning_rate(config):
    """Trains the network of a config for a moment with rising rates; prints a suggestion and draws how it was found."""
    if replicas.PROCESSES > 1:
        raise UserError("find_lr looks for a rate in one process: python train.py --find-lr")
    dataset, model = _prepare(config, begins=True)  # also where a run of its name has weights: it never takes them up
    run = Run.of(config)
    *curves, suggestion = within_memory(find_rate, config, run, dataset, model)
    folder, picture = typed_path(config.output_dir) / "find-lr", f"{run.name}.png"
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{config.model} on {dataset.name}, {config.optimizer}, batches of {config.batch_size}"
    write_whole(folder, picture, image_of(draw_rates(*curves, suggestion, title), "png"))
    print(f"--init-lr {suggestion:g} (at ten times that, the loss was about to rise); drawn in {folder / picture}")
    return 0


def _prepare(config, begins):
    """The data of a config, and its network: where that begins, with the weights that it starts from."""
    dataset = load_dataset(config)
    check_images(config, dataset)
    model = build(config, dataset)
    if config.init_from and begins:
        check_source(config, dataset)
        take_weights(model, config, dataset.class_names)
    return dataset, model


@contextlib.contextmanager
def _faults_of_the_system(config, run):
    """A full disk, a folder that vanished or became read-only: one line; what was written before stands."""
    try:
        yield
    except BrokenPipeError:  # of whom it printed for; errors.run_script knows what to do
        raise
    except OSError as error:
        if not is_of_the_system(error):
            raise
        written = list_checkpoints(run.weights)
        stands = f"checkpoint {written[-1].name} stands" if written else "no checkpoint was written yet"
        raise RunFailure(f"{error}; {stands}, and the same command goes on: {_same_command(config)}") from error


def _same_command(config):
    """What was typed to get here, without a start_epoch of it or of config.py: going on is not going back once more."""
    typed = re.sub(r" --start[-_]epoch[ =]\S+", "", typed_command())
    return typed if config.start_epoch is None else f"{typed} --start-epoch None"


def _introduce(config, run, dataset):
    if config.precision == "mixed_bfloat16" and replicas.BACKEND == "torch" and devices.emulates_bfloat16():
        print("note: this GPU computes bfloat16 by way of float32, which takes longer: --precision float32 is faster here")
    for note in (*dataset.notes, *dataset.overlap.notes({name: len(split) for name, split in dataset.splits.items()})):
        print(f"note: {note}")
    sizes = ", ".join(f"{len(getattr(dataset, name)):,} {name}" for name in ("train", "val", "test"))
    print(f"{config.model} on {dataset.name}: {sizes}, {dataset.classes} classes, {config.precision}, {keras.config.backend()}")
    if chosen := describe(config, len(dataset.train)):
        print(chosen)
    print(f"watch {run.output / 'training.png'}", flush=True)


def load_trained(run, dataset=None):
    """(data set, model with the weights of the best epoch on val, the run's newest state). Raises UserError.

    Downloads nothing: a run that is looked at may come from anybody.
    """
    config = run.read_config()
    if dataset is None:
        with looking():
            dataset = replace(load_dataset(config), name=run.read_settings().dataset)
    model = build(config, dataset)
    state = load_best(run, model)
    if state.get("data") != dataset.fingerprint:
        raise UserError(f"the content of data set '{dataset.name}' has changed since run '{run.name}' was trained on it")
    return dataset, model, state


def evaluate(run, dataset=None):
    """Measures the best weights of a run on whole splits without augmentation; writes `metrics.json` and `confusion.png`."""
    with replicas.preparing():
        dataset, model, state = load_trained(run, dataset)
    metrics = {}
    for name in ("train", "val", "test"):
        split = getattr(dataset, name)
        logits = replicas.gather_rows(predict(model, share_of_batches(dataset, split)))
        metrics[name] = measure(logits, split.labels)
    confusion = confusion_matrix(logits, dataset.test.labels)
    seconds, images = state["progress"]["seconds"], state["progress"]["images"]
    metrics |= {
        "epochs": state["epoch"],
        "best_epoch": state["best"]["epoch"] + 1,
        "seconds": seconds,
        "images_per_second": images / seconds if seconds else 0.0,
        "params": model.count_params(),
        "macs": count_macs(model),
        "most_confused": most_confused(confusion, dataset.class_names),
    }
    without = measure_without_shared(logits, dataset)
    run.write_json("metrics.json", metrics)
    run.write_json("overlap.json", dataset.overlap.record() | {"test_without_shared": without})
    run.write_figure("confusion.png", draw_confusion(confusion, dataset.class_names, f"{run.name}: test"))
    _print_table(run, metrics)
    if dataset.overlap.is_shared.any():
        print(describe_overlap(read_overlap(run), metrics))
    return metrics


def evaluate_views(run):
    """Test-time augmentation: `metrics-tta.json`, beside the plain `metrics.json`."""
    dataset, model, _ = load_trained(run)
    title = "mean of several views of an image"
    _measure_beside(run, "tta", title, dataset, lambda s: predict_views(model, dataset, s))


def evaluate_average(run):
    """The mean of the kept checkpoints' weights: `metrics-average.json`, beside the plain `metrics.json`."""
    dataset, model, _ = load_trained(run)
    count = average_checkpoints(run, model, Batches(dataset, dataset.train, run.read_config().batch_size))
    title = f"mean of the weights of {count} checkpoints"
    _measure_beside(run, "average", title, dataset, lambda s: predict(model, Batches(dataset, s)))


def _measure_beside(run, kind, title, dataset, predicted):
    splits = {"val": dataset.val, "test": dataset.test}
    metrics = {name: measure(predicted(split), split.labels) for name, split in splits.items()}
    run.write_json(f"metrics-{kind}.json", metrics | {"what": title})
    print(f"\nbeside it, {title}:")
    _print_splits(metrics)


def _print_table(run, metrics):
    _print_splits({name: metrics[name] for name in ("train", "val", "test")})
    for pair in metrics["most_confused"][:3]:
        true, predicted = printable(pair["true"]), printable(pair["predicted"])
        print(f"{true} taken for {predicted}: {pair['images']} ({100 * pair['share']:.1f}% of {true})")
    print(
        f"best epoch on val {metrics['best_epoch']} of {metrics['epochs']}; trained {duration(metrics['seconds'])}, "
        f"{metrics['images_per_second']:,.0f} images/s; all in {run.output}"
    )


def _print_splits(metrics):
    print(f"\n{'split':6} {'images':>8} {'loss':>8} {'accuracy':>9} {'top-5':>7} {'micro F1':>9} {'macro F1':>9}")
    for name, m in metrics.items():
        top5 = f"{100 * m['top5_accuracy']:6.2f}%" if "top5_accuracy" in m else f"{'-':>7}"
        shares = f"{100 * m['accuracy']:8.2f}% {top5} {m['f1_micro']:9.4f} {m['f1_macro']:9.4f}"
        print(f"{name:6} {m['images']:8,} {m['loss']:8.4f} {shares}")
