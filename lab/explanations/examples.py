"""Images that are shown, and the answers of networks to them."""

from dataclasses import dataclass

import numpy as np

from datasets.dataset import Split
from datasets.images import BrokenImage, read_image
from foundation.errors import UserError, same_text, unknown
from foundation.escaping import csv_text
from foundation.grammar import counted

# The birds study's gallery.
BIRDS = ("Cattle Egret", "Coppersmith Barbet", "Indian Peacock", "Red Wattled Lapwing", "Ruddy Shelduck")
BIRDS += ("White Breasted Kingfisher", "White Breasted Waterhen")
DEFAULT_CLASSES = {"indian_birds": BIRDS}  # other data sets show SHOWN_CLASSES classes, see shown_classes
SHOWN_CLASSES = 7
TOWARDS = {"predicted": "the predicted class", "true": "the true class"}  # targets of maps; the name of a class is one too


@dataclass(frozen=True)
class Answer:
    """Answer of one network to an image, and the map of the answer."""

    network: str
    predicted: str
    probability: float
    true_probability: float | None  # None if the true class is unknown
    towards: str  # the class of the map
    map: np.ndarray  # `(H, W)` in 0..1


@dataclass(frozen=True)
class Example:
    """An image `(H, W, C)` uint8, its name, its true class if that is known, and each network's answer."""

    name: str
    image: np.ndarray
    true: str | None
    answers: tuple[Answer, ...]

    @property
    def is_right(self) -> bool:
        """True if the first network's answer is right."""
        return self.answers[0].predicted == self.true


def shown_classes(network):
    """Return the names of the classes that a gallery of this network shows if the user names none.

    They are those of DEFAULT_CLASSES, else the classes with the most wrong answers on val, in that order.
    """
    if network.config.dataset in DEFAULT_CLASSES:
        return DEFAULT_CLASSES[network.config.dataset]
    val, names = network.dataset.val, network.dataset.class_names
    wrong = val.labels[network.probabilities(val).argmax(1) != val.labels]
    errors = np.bincount(wrong, minlength=len(names))
    return [names[label] for label in np.argsort(-errors, kind="stable")[:SHOWN_CLASSES]]


def label_of(name, class_names):
    """Return the label of a class. Raises UserError for an unknown class."""
    found = same_text(name, class_names)
    if found is None:
        raise unknown("class", name, class_names, "the run's classes.json lists all")
    return class_names.index(found)


def towards_class(name):
    """Return the text that asks for maps of a class: its name, or `class:NAME` if the name has another meaning."""
    return f"class:{name}" if name in TOWARDS else name


def target_labels(towards, probabilities, labels, class_names):
    """Return the classes `(N,)` that maps are made towards.

    `towards` is one of TOWARDS, a class's name or `class:NAME`. Raises UserError.
    """
    if towards == "predicted":
        return probabilities.argmax(1)
    if towards == "true":
        if labels is None:
            raise UserError("the true class of these pictures is not known, allowed for --class: predicted or a class's name")
        return labels
    named = towards if towards in class_names else towards.removeprefix("class:")
    return np.full(len(probabilities), label_of(named, class_names))


def examples_of(networks, split, names, towards, labels=None):
    """Return an Example for every image of a split. `names` are the images' names; `labels` are the true labels if known."""
    class_names, columns = networks[0].dataset.class_names, []
    for network in networks:
        probabilities = network.probabilities(split)
        targets = target_labels(towards, probabilities, labels, class_names)
        columns.append(list(_answers(network, probabilities, labels, targets, network.maps(split, targets))))
    return [
        Example(name, image, None if labels is None else class_names[labels[i]], tuple(column[i] for column in columns))
        for i, (name, image) in enumerate(zip(names, _in_rgb(split.read()), strict=True))
    ]


def _in_rgb(images):
    return images if images.shape[-1] == 3 else images.repeat(3, axis=-1)


def _answers(network, probabilities, labels, targets, maps):
    names = network.dataset.class_names
    for i, (row, target) in enumerate(zip(probabilities, targets, strict=True)):
        true = None if labels is None else float(row[labels[i]])
        yield Answer(network.run.name, names[row.argmax()], float(row.max()), true, names[target], maps[i])


def pictures(files, size, channels, ranges) -> Split:
    """Return a user's image files as a split without labels. Raises UserError for a file that can't be read."""
    images = []
    for file in files:
        try:
            images.append(read_image(file, size, channels, ranges))
        except BrokenImage as error:
            raise UserError(f"{file} can't be read as an image: {error}") from error
        except OSError as error:
            raise UserError(f"{file} can't be read: {error.strerror or error}") from error
    return Split(np.array(images), np.zeros(len(images), "int64"))


def answers_as_csv(networks) -> str:
    """Return as CSV what networks take each image of val for: its file or number, its class, and of each network the answer."""
    dataset = networks[0].dataset
    names = dataset.class_names
    columns = [f"{network.run.name}: {what}" for network in networks for what in ("predicted", "probability")]
    table = [["image", "true", *columns]]
    found = [network.probabilities(dataset.val) for network in networks]
    for i, (image, label) in enumerate(zip(dataset.val.names("val"), dataset.val.labels, strict=True)):
        answers = [cell for rows in found for cell in (names[rows[i].argmax()], f"{rows[i].max():.6f}")]
        table.append([image, names[label], *answers])
    return csv_text(table)


@dataclass(frozen=True)
class Group:
    """A class's images on val: the first `count` right and wrong answers of the first network, and how many there are in all."""

    name: str
    right: list[Example]
    wrong: list[Example]
    right_count: int
    wrong_count: int

    def shortages(self, count):
        """Yield a sentence for each kind of answer with fewer than wanted."""
        for kind, found in (("right", self.right_count), ("wrong", self.wrong_count)):
            if found < count:
                answers = counted(found, f"{kind} answer") if found else f"no {kind} answers"
                yield f"{answers} on val, fewer than the {count} asked for"


def shortages_of(groups, count) -> list[str]:
    """Return a sentence for each kind of shortage among groups, with the names of all groups that have it."""
    named = {}
    for group in groups:
        for shortage in group.shortages(count):
            named.setdefault(shortage, []).append(group.name)
    return [f"{', '.join(names)}: {shortage}" for shortage, names in named.items()]


def groups_of(networks, class_names, count, towards):
    """Return a Group for each named class: its first images in the order of val, not selected by their maps."""
    dataset = networks[0].dataset
    wanted = [label_of(name, dataset.class_names) for name in class_names]
    predicted = networks[0].probabilities(dataset.val).argmax(1)
    is_right, names = predicted == dataset.val.labels, dataset.val.names("val")
    groups = []
    for label in wanted:
        own = dataset.val.labels == label
        kinds = [np.flatnonzero(own & kind) for kind in (is_right, ~is_right)]
        chosen = np.concatenate([kind[:count] for kind in kinds])
        labels = dataset.val.labels[chosen]
        shown = (
            examples_of(networks, dataset.val.select(chosen), [names[i] for i in chosen], towards, labels) if len(chosen) else []
        )
        cut = min(count, len(kinds[0]))
        groups.append(Group(dataset.class_names[label], shown[:cut], shown[cut:], *map(len, kinds)))
    return groups
