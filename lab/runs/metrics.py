"""`metrics.json`: what it holds, in types that its writer, its check and its readers share."""

from typing import Annotated, NotRequired, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

from foundation.errors import UserError
from lab.runs.contents import LARGEST_NUMBER, MOST_EPOCHS, SPLITS

ROUNDING = 1e-6  # a mean of shares may lie that far outside
MOST_COUNTED = 200  # classes of a network whose confusion is written as numbers: their square is read at every look at a run
Share = Annotated[float, (0, 1)]
Count = Annotated[int, (0, 1 << 62)]
Positive = Annotated[int, (1, 1 << 62)]
Epochs = Annotated[int, (1, MOST_EPOCHS)]


class ClassMetrics(TypedDict):
    """Measurements of one class of a split, 0 where they are undefined, as in scikit-learn."""

    precision: Share  # of the images that were taken for the class, those that are of it
    recall: Share  # of the images of the class, those that were taken for it
    f1: Share
    support: Count  # images of the class


class SplitMetrics(TypedDict):
    """Measurements on a whole split."""

    loss: Annotated[float, (0, LARGEST_NUMBER)]  # mean cross-entropy in nats
    accuracy: Share
    f1_micro: Share
    f1_macro: Share
    images: Positive
    top5_accuracy: NotRequired[Share]  # of networks with more than five classes
    absent_classes: NotRequired[list[Count]]  # labels without an image in the split
    classes: NotRequired[list[ClassMetrics]]  # by label; earlier versions wrote none
    confusion: NotRequired[list[list[Count]]]  # rows: true classes; of at most MOST_COUNTED classes; earlier versions wrote none


class Confusion(TypedDict):
    """Images of one class of test that were taken for another."""

    true: str
    predicted: str
    images: Count
    share: Annotated[float, (0, 1)]  # of the images of the true class


class Ended(TypedDict):
    """The part that says how training ended."""

    epochs: Epochs
    best_epoch: Epochs


class Metrics(Ended):
    """Everything in metrics.json."""

    train: SplitMetrics
    val: SplitMetrics
    test: SplitMetrics
    seconds: Annotated[float, (0, 1e12)]  # of training
    images_per_second: Annotated[float, (0, 1e12)]
    params: Count
    macs: Count  # multiply-accumulates of one image
    most_confused: NotRequired[list[Confusion] | None]  # earlier versions wrote none


def metrics_of(run) -> Metrics:
    """Return the metrics of a measured run. Raises UserError if the file is missing or damaged."""
    found = _read(run, Metrics)
    return found | {"most_confused": found.get("most_confused") or []}


def end_of(run) -> Ended:
    """Return how many epochs a measured run had, and its best one. Raises UserError as `metrics_of` does."""
    return _read(run, Ended)


def _read(run, kind):
    found = run.read_json("metrics.json")
    fault = fault_of(found, kind)
    if not fault and found["best_epoch"] > found["epochs"]:
        fault = "best_epoch should be one of the epochs"
    if not fault and kind is Metrics:
        fault = next((fault for split in SPLITS if (fault := _fault_of_confusion(split, found[split]))), None)
    if fault:
        raise UserError(f"{run.output / 'metrics.json'} is damaged: {fault}")
    return found


def _fault_of_confusion(split, metrics):
    """Return why a split's confusion matrix does not fit its other numbers, or None."""
    confusion = metrics.get("confusion")
    if confusion is None:
        return None
    if len(confusion) > MOST_COUNTED or any(len(row) != len(confusion) for row in confusion):
        return f"confusion of {split} should be square, with at most {MOST_COUNTED} classes"
    if len(metrics.get("classes", confusion)) != len(confusion):
        return f"classes of {split} should be as many as confusion has"
    total, right = sum(map(sum, confusion)), sum(row[label] for label, row in enumerate(confusion))
    fits = total == metrics["images"] and abs(right / total - metrics["accuracy"]) <= ROUNDING
    return None if fits else f"confusion of {split} should count its images, and as many right ones as accuracy says"


def fault_of(value, kind, name="it"):
    """Return why a value read from JSON is not of a type, or None.

    A type is a TypedDict, a list, a choice with None, text, or a number annotated with its lowest and highest value. Names that
    a TypedDict does not know are let through: a later version may have written them.
    """
    if is_typeddict(kind):
        return _fault_of_dict(value, kind, name)
    if get_origin(kind) is list:
        if not isinstance(value, list):
            return f"{name} should be a list"
        (inner,) = get_args(kind)
        if inner == Count and all(type(each) is int and 0 <= each < 1 << 62 for each in value):
            return None  # the numbers of a confusion matrix are many
        return next((fault for each in value if (fault := fault_of(each, inner, name))), None)
    if get_origin(kind) is Annotated:
        number, (low, high) = get_args(kind)
        is_number = isinstance(value, int if number is int else int | float) and not isinstance(value, bool)
        wanted = f"a {'whole number' if number is int else 'number'} from {low} to {high:.7g}"
        is_within = is_number and low - ROUNDING <= value <= high * (1 + ROUNDING)
        return None if is_within else f"{name} should be {wanted}"
    if type(None) in get_args(kind):
        return None if value is None else fault_of(value, get_args(kind)[0], name)
    return None if isinstance(value, kind) else f"{name} should be text"


def _fault_of_dict(value, kind, name):
    if not isinstance(value, dict):
        return f"{name} should hold {', '.join(sorted(kind.__required_keys__))}"
    for key, inner in get_type_hints(kind, include_extras=True).items():
        place = key if name == "it" else f"{key} of {name}"
        inner = get_args(inner)[0] if get_origin(inner) is NotRequired else inner
        if key not in value and key in kind.__required_keys__:
            return f"{place} is missing"
        if key in value and (fault := fault_of(value[key], inner, place)):
            return fault
    return None
