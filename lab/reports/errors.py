"""Errors image by image: which images one network names correctly and another does not, in all seeds, and in which classes."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from foundation.errors import UserError
from foundation.escaping import csv_text
from lab.reports.image_sampling import mcnemar_p
from lab.reports.results import repetitions
from lab.runs.contents import classes_of

FALSE_DISCOVERIES = 0.05  # share of false ones among the classes that are called different


@dataclass(frozen=True)
class Arm:
    """Runs of one network that differ in their seed, on the images that all compared runs have."""

    name: str
    answers: np.ndarray  # `(runs, images)`
    labels: np.ndarray  # `(images,)`

    @property
    def is_right(self):
        """Images that all runs name correctly, `(images,)` of booleans."""
        return (self.answers == self.labels).all(0)

    @property
    def is_wrong(self):
        """Images that no run names correctly, `(images,)` of booleans."""
        return (self.answers != self.labels).all(0)

    def answer(self, image):
        """Return the class that most runs name; of a tie, the first run's among them."""
        return Counter(self.answers[:, image].tolist()).most_common(1)[0][0]


@dataclass(frozen=True)
class ClassErrors:
    """Images of one class that only one of two arms has right, in all seeds; McNemar's exact p, and p among all classes."""

    label: int
    images: int
    only_first: int
    only_other: int
    p: float
    adjusted: float  # after Benjamini & Hochberg 1995, which bounds the share of false discoveries


@dataclass(frozen=True)
class Disagreement:
    """Two arms on the same images."""

    first: Arm
    other: Arm

    @property
    def only_first(self):
        """Places of images that the first arm has right and the other wrong, in all seeds, by class."""
        return self._places(self.first, self.other)

    @property
    def only_other(self):
        return self._places(self.other, self.first)

    def _places(self, right, wrong):
        places = np.flatnonzero(right.is_right & wrong.is_wrong)
        return places[np.argsort(right.labels[places], kind="stable")]

    @property
    def p(self) -> float:
        """McNemar's exact p over all images."""
        return mcnemar_p(len(self.only_first), len(self.only_other))

    def by_class(self):
        """Return the ClassErrors of every class that has images, the smallest p first."""
        from statsmodels.stats.multitest import multipletests  # takes a second to import

        labels = self.first.labels
        counts = [np.bincount(labels[places], minlength=labels.max() + 1) for places in (self.only_first, self.only_other)]
        images = np.bincount(labels)
        present = np.flatnonzero(images)
        p_values = [mcnemar_p(int(counts[0][label]), int(counts[1][label])) for label in present]
        adjusted = multipletests(p_values, alpha=FALSE_DISCOVERIES, method="fdr_bh")[1]
        rows = zip(present, p_values, adjusted, strict=True)
        found = [ClassErrors(int(c), int(images[c]), int(counts[0][c]), int(counts[1][c]), p, float(q)) for c, p, q in rows]
        return sorted(found, key=lambda each: (each.p, each.label))


def arms_of(runs, split):
    """Return the arms among finished runs, and the identities of the images that all runs have, in order.

    Raises UserError for runs of other classes, other labels or no image in common.
    """
    names = [[entry["name"] for entry in classes_of(run.run)] for run in runs]
    if differing := [run.name for run, own in zip(runs, names, strict=True) if own != names[0]]:
        raise UserError(f"run '{differing[0]}' knows other classes than run '{runs[0].name}': their errors can't be compared")
    found = {run.name: run.predictions(split) for run in runs}
    for name, each in found.items():
        if each.logits.shape[1] != len(names[0]):
            raise UserError(
                f"predictions of run '{name}' are of {each.logits.shape[1]} classes, classes.json names {len(names[0])}"
            )
    places = {name: {image: i for i, image in enumerate(each.images)} for name, each in found.items()}
    images = [image for image in places[runs[0].name] if all(image in own for own in places.values())]
    if not images:
        raise UserError(f"the runs have no image of {split} in common: their seeds drew other ones")
    chosen = {name: [own[image] for image in images] for name, own in places.items()}
    labels = found[runs[0].name].labels[chosen[runs[0].name]]
    if any(not np.array_equal(found[name].labels[chosen[name]], labels) for name in chosen):
        raise UserError(f"the runs name the classes of {split} differently: they were trained on other data")
    arms = []
    for label, group in repetitions(runs).items():
        arms.append(Arm(label, np.array([found[run.name].answers[chosen[run.name]] for run in group]), labels))
    return arms, images


def shown(image) -> str:
    """Return an image's identity for a reader: its file's path, or its row of the data set."""
    return image if isinstance(image, str) else f"row {image}"


def errors_as_csv(arms, images, class_names) -> str:
    """Return as CSV the image, its class, and what each run of each arm takes it for, of images that some run has wrong."""
    columns = [f"{arm.name} ({i + 1})" if len(arm.answers) > 1 else arm.name for arm in arms for i in range(len(arm.answers))]
    rows = [["image", "true", *columns]]
    answers, labels = np.concatenate([arm.answers for arm in arms]), arms[0].labels
    for place in np.flatnonzero((answers != labels).any(0)):
        rows.append([shown(images[place]), *(class_names[answer] for answer in (labels[place], *answers[:, place]))])
    return csv_text(rows)
