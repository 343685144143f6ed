"""Which images are shown, and what networks say of them."""

from dataclasses import dataclass

import numpy as np

from datasets.dataset import Split
from datasets.images import BrokenImage, read_image
from errors import UserError, same_text, unknown

# The birds study's gallery.
BIRDS = ("Cattle Egret", "Coppersmith Barbet", "Indian Peacock", "Red Wattled Lapwing", "Ruddy Shelduck")
BIRDS += ("White Breasted Kingfisher", "White Breasted Waterhen")
DEFAULT_CLASSES = {"indian_birds": BIRDS}  # of other data sets: SHOWN_CLASSES, see shown_classes
SHOWN_CLASSES = 7
TOWARDS = {"predicted": "the predicted class", "true": "the true class"}  # of maps, beside a class of one's own choice


@dataclass(frozen=True)
class Answer:
    """What one network says of an image, and where it sees it."""

    network: str
    predicted: str
    probability: float
    true_probability: float | None  # None where nobody knows the true class
    towards: str  # the class of the map
    map: np.ndarray  # `(H, W)` in 0..1


@dataclass(frozen=True)
class Example:
    """An image `(H, W, C)` uint8, what it is called, its true class where that is known, and each network's answer."""

    name: str
    image: np.ndarray
    true: str | None
    answers: tuple[Answer, ...]

    @property
    def is_right(self):
        """Of the first network."""
        return self.answers[0].predicted == self.true


def shown_classes(network):
    """The names of the classes that a gallery of this network shows where nobody says which: those with the most wrong answers
    on val come first."""
    if network.config.dataset in DEFAULT_CLASSES:
        return DEFAULT_CLASSES[network.config.dataset]
    val, names = network.dataset.val, network.dataset.class_names
    wrong = val.labels[network.probabilities(val).argmax(1) != val.labels]
    errors = np.bincount(wrong, minlength=len(names))
    return [names[label] for label in np.argsort(-errors, kind="stable")[:SHOWN_CLASSES]]


def label_of(name, class_names):
    """Raises UserError for an unknown class."""
    found = same_text(name, class_names)
    if found is None:
        raise unknown("class", name, class_names, "the run's classes.json lists all")
    return class_names.index(found)


def towards_class(name):
    """How the maps of a class are asked for: by its name, and where that has another meaning by `class:NAME`."""
    return f"class:{name}" if name in TOWARDS else name


def target_labels(towards, probabilities, labels, class_names):
    """The classes `(N,)` that maps are made towards: one of TOWARDS, a class's name or `class:NAME`. Raises UserError."""
    if towards == "predicted":
        return probabilities.argmax(1)
    if towards == "true":
        if labels is None:
            raise UserError("nobody knows the true class of these pictures: --class takes predicted or a class's name")
        return labels
    named = towards if towards in class_names else towards.removeprefix("class:")
    return np.full(len(probabilities), label_of(named, class_names))


def examples_of(networks, split, names, towards, labels=None):
    """An Example for every image of a split, called by `names`; `labels` are the true ones, where they are known."""
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


def pictures(files, size, channels, ranges):
    """A user's image files as a split without labels. Raises UserError for one that can't be read."""
    images = []
    for file in files:
        try:
            images.append(read_image(file, size, channels, ranges))
        except BrokenImage as error:
            raise UserError(f"{file} can't be read as an image: {error}") from error
        except OSError as error:
            raise UserError(f"{file} can't be read: {error.strerror or error}") from error
    return Split(np.array(images), np.zeros(len(images), "int64"))


@dataclass(frozen=True)
class Group:
    """A class's images on val: the first `count` right and wrong answers of the first network, and how many there are."""

    name: str
    right: list[Example]
    wrong: list[Example]
    right_count: int
    wrong_count: int

    def shortages(self, count):
        """A sentence for each kind of which there are fewer than wanted."""
        for kind, found in (("right", self.right_count), ("wrong", self.wrong_count)):
            if found < count:
                yield f"{found or 'no'} {kind} answer{'' if found == 1 else 's'} on val, fewer than the {count} asked for"


def shortages_of(groups, count):
    """A sentence for each kind of shortage among groups, with the names of all that have it."""
    named = {}
    for group in groups:
        for shortage in group.shortages(count):
            named.setdefault(shortage, []).append(group.name)
    return [f"{', '.join(names)}: {shortage}" for shortage, names in named.items()]


def groups_of(networks, class_names, count, towards):
    """A Group for each named class: the first ones in the order of val, not picked by how their maps look."""
    dataset = networks[0].dataset
    wanted = [label_of(name, dataset.class_names) for name in class_names]
    predicted = networks[0].probabilities(dataset.val).argmax(1)
    is_right = predicted == dataset.val.labels
    groups = []
    for label in wanted:
        own = dataset.val.labels == label
        kinds = [np.flatnonzero(own & kind) for kind in (is_right, ~is_right)]
        chosen = np.concatenate([kind[:count] for kind in kinds])
        names, labels = [f"val {i}" for i in chosen], dataset.val.labels[chosen]
        shown = examples_of(networks, dataset.val.select(chosen), names, towards, labels) if len(chosen) else []
        cut = min(count, len(kinds[0]))
        groups.append(Group(dataset.class_names[label], shown[:cut], shown[cut:], *map(len, kinds)))
    return groups
