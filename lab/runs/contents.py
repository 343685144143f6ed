"""Content of a run's files, checked: a run may be damaged, or made by somebody who means harm.

Each function returns what its file holds, or raises a UserError that names the file and what is wrong with it.
"""

from foundation import files
from foundation.errors import UserError

SPLITS = ("train", "val", "test")
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")  # names that every history holds
FLOW = ("gradient_norm", "weight_norm", "update_ratio")
MOST_EPOCHS = 99_999  # as config.py allows
MOST_CLASSES = 100_000  # of a network; ImageNet has 21,841
LARGEST_NUMBER = 3.5e38  # a little more than float32 holds
LARGEST_FLOW = 512 << 20  # bytes of flow.json: values of every layer and epoch
SIDE = range(8, 1025)  # pixels, as config.py allows


def is_number(value, low=-LARGEST_NUMBER, high=LARGEST_NUMBER) -> bool:
    """Return whether a value is a number within these bounds, and no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def is_count(value, high=1 << 62) -> bool:
    """Return whether a value is a whole number from 0 to `high`."""
    return isinstance(value, int) and is_number(value, 0, high)


def _are_numbers(values, length=None, **bounds):
    is_list = isinstance(values, list) and (length is None or len(values) == length)
    return is_list and all(is_number(value, **bounds) for value in values)


def _fault(run, file, wanted):
    return UserError(f"{run.output / file} is damaged: {wanted}")


def classes_of(run):
    """Return the meaning of each label: dicts of label, name and id, in order."""
    found = run.read_json("classes.json")
    if not isinstance(found, list) or not found:
        raise _fault(run, "classes.json", "it should list classes")
    if len(found) > MOST_CLASSES:
        raise _fault(run, "classes.json", f"it lists more than {MOST_CLASSES:,} classes")
    for label, entry in enumerate(found):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in ("name", "id")):
            raise _fault(run, "classes.json", f"class {label} should have a name and an id")
    return found


def preprocessing_of(run):
    """Return how an image becomes the network's input: `image_size` and, per channel, `mean` and `std`."""
    found = run.read_json("preprocessing.json")
    if not isinstance(found, dict) or (fault := fault_of_scaling(*map(found.get, ("image_size", "mean", "std")))):
        raise _fault(run, "preprocessing.json", fault if isinstance(found, dict) else "it should hold image_size, mean and std")
    return found


def fault_of_scaling(image_size, mean, std) -> str | None:
    """Return what is wrong with a size and scaling of images, or None."""
    if not is_count(image_size) or image_size not in SIDE:
        return f"image_size should be from {SIDE[0]} to {SIDE[-1]}"
    if not _are_numbers(mean) or len(mean) not in (1, 3):
        return "mean should be of one channel or of three"
    if not _are_numbers(std, len(mean), low=1e-7):
        return "std should be more than 0 in every channel of mean"
    return None


def epochs_of(run, file="history.json", names=CURVES):
    """Return lists of one number for every epoch, by metric; `names` must be among them once there is an epoch."""
    found = run.read_json(file)
    if fault := fault_of_epochs(found, names):
        raise _fault(run, file, fault)
    return found


def fault_of_epochs(found, names=CURVES):
    """Return what is wrong with a history, or None."""
    if not isinstance(found, dict) or not all(map(_are_numbers, found.values())) or "epoch" not in found:
        return "it should hold a list of numbers for every metric"
    epochs = found["epoch"]
    if len(epochs) > MOST_EPOCHS or epochs != list(range(1, len(epochs) + 1)):
        return "epoch should count from 1 on"
    uneven = [name for name in (*names, *found) if len(found.get(name, ())) != len(epochs) and (epochs or name in found)]
    return f"{', '.join(sorted(set(uneven)))[:200]} should have a value for every epoch" if uneven else None


def flow_of(run, names=FLOW):
    """Return gradient norms, weight norms and update ratios by epoch and layer, or those of them in `names`."""
    path = run.output / "flow.json"
    found = files.read_json(path, LARGEST_FLOW)
    found = found if isinstance(found, dict) else {}
    layers, epochs = found.get("layers"), found.get("epoch")
    if not isinstance(layers, list) or not layers or not all(isinstance(layer, str) for layer in layers):
        raise UserError(f"{path} is damaged: layers should be names")
    if not isinstance(epochs, list) or not all(map(is_count, epochs)) or epochs != [epochs[0] + i for i in range(len(epochs))]:
        raise UserError(f"{path} is damaged: epoch should count")
    for name in names:
        rows = found.get(name)
        if not isinstance(rows, list) or len(rows) != len(epochs) or not all(_are_numbers(row, len(layers)) for row in rows):
            raise UserError(f"{path} is damaged: {name} should have a value for every epoch and layer")
    return found


def environments_of(run):
    """Return the environments of a run: the first one, and one more for each continuation in another environment."""
    recorded = run.read_json("environment.json")
    if isinstance(recorded, dict):
        first = {name: value for name, value in recorded.items() if name != "continued"}
        continued = recorded.get("continued", [])
        found = [first, *continued] if isinstance(continued, list) else []
        if found and all(map(_is_environment, found)):
            return found
    raise _fault(run, "environment.json", "it should say with what the run was computed")


def _is_environment(found):
    texts = {"backend": str, "device": str, "versions": dict}
    return (
        isinstance(found, dict)
        and all(isinstance(found.get(name), kind) for name, kind in texts.items())
        and all(isinstance(version, str) for version in found["versions"].values())
        and all(found.get(name) is None or is_count(found[name], 10**6) for name in ("threads", "cores"))
        and isinstance(found.get("git_commit"), str | None)
    )


def fault_of_state(state, needs=()):
    """Return what is wrong with a checkpoint's state, or None.

    The parts in `needs` must be there. Others may be missing: earlier versions, whose runs may still go on, did not write all.
    """
    if not isinstance(state, dict):
        return "it holds no state"
    for name, high in (("epoch", MOST_EPOCHS), ("step", 10**7 - 1)):
        if not is_count(state.get(name), high):
            return f"{name} should be a count"
    if missing := [name for name in needs if name not in state]:
        return f"{missing[0]} is missing"
    best = state.get("best", {"epoch": None, "value": None})
    progress = state.get("progress", {"seconds": 0.0, "images": 0})
    if not isinstance(best, dict) or best.keys() != {"epoch", "value"}:
        return "best should have an epoch and a value"
    has_none = best["epoch"] is None and best["value"] is None
    if not has_none and not (is_count(best["epoch"], state["epoch"] - 1) and _are_numbers(best["value"])):
        return "best should name a finished epoch and its value"
    if not isinstance(progress, dict) or not all(is_number(progress.get(name), 0) for name in ("seconds", "images")):
        return "progress should tell seconds and images"
    return _fault_of_remembered(state, progress)


def _fault_of_remembered(state, progress):
    """Return what is wrong with the parts of a state that only a resumed run needs, or None."""
    if "monitor" in state and (fault := fault_of_epochs(state["monitor"])):
        return f"monitor: {fault}"
    if "speed" in progress and (fault := fault_of_epochs(progress["speed"], ("images_per_second",))):
        return f"speed: {fault}"
    if not is_number(progress.get("interrupted_after", 0.0), 0):
        return "interrupted_after should be seconds"
    plateau = state.get("plateau", {})
    wanted = {"factor": (int, float), "best": (int, float, type(None)), "waited": (int,)}
    if plateau and not (isinstance(plateau, dict) and all(isinstance(plateau.get(k), v) for k, v in wanted.items())):
        return "plateau should have a factor, a best loss and a count of epochs"
    return None
