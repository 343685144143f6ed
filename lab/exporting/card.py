"""The model card (Mitchell et al. 2019): what a network was trained on, how well it does, what it is for and what it is not."""

from dataclasses import asdict
from pathlib import PurePath

from datasets.catalog import short_name
from foundation.escaping import code_for_markdown, for_markdown
from foundation.files import write_whole
from lab.exporting.formats import FORMATS
from lab.runs.contents import environments_of
from lab.runs.metrics import metrics_of
from lab.training.chosen import choices_of
from lab.training.evaluation import describe_overlap, read_overlap
from lab.training.metrics_table import interval_in_words, note_on_absent
from lab.training.transfer_settings import PRESET

# What a reader asks first; config.json has the rest.
SETTINGS = ("model", "norm", "activation", "attention", "shortcut", "init_from", "freeze", "colour", "images_per_class")
SETTINGS += ("class_weights", "epochs", "batch_size", "optimizer", "init_lr", "schedule", "weight_decay", "label_smoothing")
SETTINGS += ("augment", "mixup_alpha", "cutmix_alpha", "ema_decay", "precision", "seed")


def write_card(folder, run, contract, differences, remarks=()):
    """Write `MODEL_CARD.md` of the exported formats, `{format: largest difference}`, beside them, with `{format: remark}`."""
    metrics, environment = metrics_of(run), environments_of(run)[0]
    config = without_paths(asdict(run.read_settings())) | choices_of(run)
    parts = [
        f"# {for_markdown(run.name)}\n",
        f"An image classifier of {len(contract.class_names)} classes: {for_markdown(contract.model)}, "
        f"{metrics['params']:,} parameters, {metrics['macs']:,} multiply-accumulates an image.{_identity(contract)}\n",
        _data(config, metrics, read_overlap(run)),
        table_of_splits(metrics, contract.class_names),
        _usage(contract, differences, dict(remarks)),
        _settings(config, environment, metrics),
        _limits(config, metrics, contract),
    ]
    write_whole(folder, "MODEL_CARD.md", "\n".join(parts).encode(errors="replace"))


def _identity(contract):
    return f" The weights are those of run {code_for_markdown(contract.run)}, which the files name too." if contract.run else ""


def without_paths(settings):
    """Return settings for other people's eyes: of a folder, a run or a file its last name, not where it lay on this machine."""
    kind, colon, _ = settings["dataset"].partition(":")
    dataset = f"{kind}:{short_name(settings['dataset'])}" if colon and kind == "folder" else settings["dataset"]
    source = settings["init_from"]
    is_path = not source.startswith(PRESET)
    return settings | {"dataset": dataset, "init_from": PurePath(source).name if is_path else source}


def _data(config, metrics, overlap):
    sizes = ", ".join(f"{metrics[split]['images']:,} {split}" for split in ("train", "val", "test"))
    source = f"Training began from the weights of {code_for_markdown(config['init_from'])}. " if config["init_from"] else ""
    data, shared = code_for_markdown(config["dataset"]), for_markdown(describe_overlap(overlap, metrics))
    return f"## Data\n\n{data}: {sizes} images. {source}{shared} The epoch was chosen on val.\n"


def table_of_splits(metrics, class_names) -> str:
    lines = ["## Metrics\n", "| split | images | loss | accuracy | top-5 | macro F1 |", "|---|---|---|---|---|---|"]
    for split in ("train", "val", "test"):
        m = metrics[split]
        top5 = f"{100 * m['top5_accuracy']:.2f} %" if "top5_accuracy" in m else "-"
        accuracy = f"{100 * m['accuracy']:.2f} %" + (f" ({interval})" if (interval := interval_in_words(m)) else "")
        lines.append(f"| {split} | {m['images']:,} | {m['loss']:.4f} | {accuracy} | {top5} | {m['f1_macro']:.4f} |")
    for pair in metrics["most_confused"][:3]:
        share = f"{100 * pair['share']:.1f} % of the test images of {for_markdown(pair['true'])}"
        lines.append(f"\n{for_markdown(pair['true'], begins_line=True)} is taken for {for_markdown(pair['predicted'])}: {share}.")
    notes = (note_on_absent(split, metrics[split], class_names) for split in ("train", "val", "test"))
    lines += [f"\n{for_markdown(note, begins_line=True)}." for note in notes if note]
    if any(interval_in_words(metrics[split]) for split in ("train", "val", "test")):
        lines.append("\nIn brackets: 95 % interval, by the number of images.")
    return "\n".join(lines) + "\n"


def _usage(contract, differences, remarks):
    size, channels = contract.image_size, len(contract.mean)
    lines = [
        "## Use\n",
        f"Input `images`: `(N, {size}, {size}, {channels})` uint8, {'RGB' if channels == 3 else 'grey'}, 0 to 255, any N.",
        f"Output `logits`: `(N, {len(contract.class_names)})` float32, whose softmax are probabilities.\n",
        _samples(contract.sample_ranges),
        "Photographs are turned upright (EXIF), transparent parts laid on white, then",
        f"stretched to {size}x{size} (bilinear, averaging where it shrinks): nothing is cropped. The scaling of pixels,",
        f"`(pixel / 255 - mean) / std` with mean `{_numbers(contract.mean)}` and std `{_numbers(contract.std)}`, is part of the",
        "network in every format but safetensors, whose header has it.\n",
        "| file | is | loaded by | largest difference |",
        "|---|---|---|---|",
    ]
    for name, difference in differences.items():
        kind = FORMATS[name]
        lines.append(f"| `{kind.file}` | {kind.what} | `{kind.loads}` | {difference:.1e} |")
    lines.append("\nThe difference is that of the logits to the network's own in float32, on images of the test split.\n")
    lines += [f"`{FORMATS[name].file}`: {remark}.\n" for name, remark in remarks.items() if remark]
    lines += ["| label | class |", "|---|---|"]
    return "\n".join(lines + [f"| {i} | {for_markdown(name)} |" for i, name in enumerate(contract.class_names)]) + "\n"


def _samples(ranges):
    spans = " and ".join(f"{kind} samples from {low:g} to {high:g}" for kind, (low, high) in ranges.items())
    return f"Files of more than 8 bits a sample are scaled to that first: {spans}. `predict.py` does so."


def _settings(config, environment, metrics):
    chosen = "\n".join(f"| `{name}` | {code_for_markdown(config[name] if config[name] != '' else 'none')} |" for name in SETTINGS)
    versions = ", ".join(for_markdown(f"{name} {version}") for name, version in environment["versions"].items())
    backend = for_markdown(environment["backend"])
    how = f"Trained for {metrics['epochs']} epochs (best: {metrics['best_epoch']}) with {versions} on {backend}."
    return f"## Training\n\n| setting | value |\n|---|---|\n{chosen}\n\n{how}\n"


def _limits(config, metrics, contract):
    t = contract.temperature
    how = f"are calibrated on val where logits are divided by {t:.4f}" if t != 1.0 else "were not calibrated"
    return f"""## Intended use and limits

For images like those of {code_for_markdown(config["dataset"])}:
of the same classes, taken and cut in the same way. It gives every image one of its classes, also one that shows none of them,
and its probabilities {how}. The test accuracy, {100 * metrics["test"]["accuracy"]:.2f} %, is that of one
training run and says nothing about other sources of images, nor about groups within a class. Not for decisions about people,
nor where an error does harm, without a study of its own.
"""


def _numbers(values):
    return ", ".join(f"{value:.4f}" for value in values)
