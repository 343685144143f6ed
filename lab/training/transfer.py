"""Starting from a network that was trained before: which weights are taken, which stay as they are."""

from datasets.catalog import pool_of
from foundation.errors import UserError, normal
from foundation.files import read_regular
from foundation.paths import typed_path
from lab.runs.checkpoints import LARGEST, best_weights, read_tensors
from lab.runs.contents import classes_of
from lab.runs.places import settled_paths
from lab.training.keras_hub_weights import backbone_weights
from lab.training.stock_weights import read_stock_weights
from lab.training.transfer_settings import KERAS_FILE, PRESET, frozen_stages, source_run, unreadable
from models.network import CLASSIFIER, HEAD, stage_of


def take_weights(model, config, class_names):
    """Give a model the weights of `config.init_from`: a run, a file (.safetensors, .keras) or a preset of keras-hub; says which
    fit and which don't.

    Weights go by their paths. The head is taken only where its classes are those of the source, in their order (of a file,
    which names none: where their number is). Addresses of random draws are never taken: they are the seed's. Raises UserError
    where nothing fits.
    """
    weights, names = _read(config, [variable.path for variable in model.variables])
    taken, own = [], []
    for variable in model.variables:
        value = weights.get(variable.path)
        is_foreign_head = variable.path.startswith(HEAD) and names not in (None, tuple(map(normal, class_names)))
        is_never_taken = is_foreign_head or variable.name == "address"
        if value is None or value.shape != tuple(variable.shape) or is_never_taken:
            own.append(variable.path)
        else:
            variable.assign(value)
            taken.append(variable.path)
    if not any(path.endswith("kernel") for path in taken):
        raise UserError(f"no kernel of {config.model} has its path and shape in init_from '{config.init_from}'")
    unused = sorted(weights.keys() - {variable.path for variable in model.variables})
    print(
        f"from {config.init_from}: {len(taken)} tensors taken; begun anew: {_shown(own)}; left over: {_shown(unused)}", flush=True
    )


def check_source(config, dataset):
    """Raise a UserError where `config.init_from` is a run that learned from what is val or test here.

    What a source of images lacks is drawn from its train, by the seed and for the classes that are asked for: of the same
    images only the same draw, or a draw of none of these classes, leaves val and test unseen.
    """
    run = source_run(config)
    if not dataset.is_drawn or run is None:
        return
    source = run.read_config()
    if pool_of(source.dataset) != pool_of(config.dataset):
        return
    there = [normal(entry["id"]) for entry in classes_of(run)]
    here = list(map(normal, dataset.class_ids or dataset.class_names))
    is_same_draw = (there, *_draw_of(source)) == (here, *_draw_of(config))
    if is_same_draw or not set(there) & set(here):
        return
    grouped = f" and group_by {source.group_by!r}" if source.group_by else ""
    how = f"it was split by seed {source.seed} and val_fraction {source.val_fraction}{grouped}; give this run the same"
    if there != here:
        how = "some of its classes are also here, split in another way; start from a run on the same classes or on none of them"
    raise UserError(f"init_from '{config.init_from}' learned from images that are val or test here: {how}")


def _draw_of(config):
    """Return what val and test depend on where they are drawn, besides images and classes; a CSV file lists its own images."""
    return config.seed, config.val_fraction, config.group_by, settled_paths(config).get("dataset")


def _shown(paths, count=4):
    more = f" and {len(paths) - count} more" if len(paths) > count else ""
    return ", ".join(paths[:count]) + more or "none"


def _read(config, wanted):
    """(arrays by path, names of the classes or None); `wanted` are the model's paths."""
    if run := source_run(config):
        return best_weights(run), tuple(normal(entry["name"]) for entry in classes_of(run))
    if config.init_from.startswith(PRESET):
        return backbone_weights(config.init_from.removeprefix(PRESET)), None
    path = typed_path(config.init_from)
    if config.init_from.endswith(KERAS_FILE):
        return read_stock_weights(path, wanted)
    try:
        return read_tensors(read_regular(path, LARGEST), str(path)), None
    except OSError as error:
        raise unreadable(path, error) from error


def freeze(model, part):
    """Make layers keep their weights and moving statistics.

    `part` is "none", "backbone" (all but the classifier) or "stages:1-2"; the stem goes with stage 1. Raises UserError.
    """
    if part == "none":
        return
    stages = {layer.name: stage_of(layer.name) for layer in model.layers}
    first, last = frozen_stages(part, sorted({stage for stage in stages.values() if stage is not None}))
    for layer in model.layers:
        stage = stages[layer.name]
        is_between = stage is not None and first <= stage <= last
        layer.trainable = not is_between and (part != "backbone" or layer.name == CLASSIFIER)
