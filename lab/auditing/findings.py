"""Findings of an audit, as records: `audit.json`, and `look-at.csv`, the pictures that a person should look at."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from datasets.class_counts import counts_of
from foundation.errors import printable
from foundation.escaping import csv_text
from foundation.grammar import agreeing, counted
from lab.auditing.leaks import Repeats
from lab.auditing.pictures import Pictures
from lab.auditing.shortcuts import Shortcut

SHOWN = 3  # groups that a sentence names
TELLING = 0.9  # share of labels that networks agree with, from which on their other answers tell of wrong labels
UNEQUAL = 5  # times as many pictures in the largest class as in the smallest


@dataclass(frozen=True)
class LabelError:
    """A picture whose label is probably wrong: its row, the class that networks take it for, and both probabilities."""

    row: int
    suggested: int
    probability: float  # of the suggested class
    own: float  # of the class of the label


@dataclass(frozen=True)
class Findings:
    """Everything that an audit found; `label_errors` and `accuracy` are None unless they were asked for."""

    pictures: Pictures
    repeats: Repeats
    shortcuts: list[Shortcut]
    label_errors: list[LabelError] | None = None
    accuracy: dict | None = None
    run: str = ""
    about_labels: dict = field(default_factory=dict)

    @cached_property
    def counts(self):
        """Numbers of pictures `(classes, splits)`."""
        return counts_of(self.pictures.dataset)

    @property
    def sizes(self):
        """Return the FileFacts that are known."""
        return [file for file in self.pictures.files or () if file]

    def sentences(self):
        """Yield a sentence for each finding that a person should act on."""
        yield from self._about_classes()
        yield from self._about_repeats()
        for each in self.shortcuts:
            if each.is_found:
                chance = f"where chance is {100 * each.chance:.1f} %"
                yield f"classes can be told apart by {each.kind} alone: {in_percent(each)}, {chance}"
        if self.label_errors:
            yield self._about_label_errors(len(self.label_errors))

    def _about_label_errors(self, count):
        agreement = self.about_labels["agreement"]
        agreed, verb = f"{100 * agreement:.1f} % of all labels", agreeing(count, "is", "are")
        if agreement >= TELLING:
            who = f"networks that had not seen the pictures agree with {agreed}"
            return f"{counted(count, 'label')} {verb} probably wrong ({who})"
        why = f"by networks that agree with only {agreed}: they can't tell a wrong label from a hard picture"
        return f"{counted(count, 'picture')} {verb} taken for another class, but {why}"

    def _about_classes(self):
        total, names = self.counts.sum(1), self.pictures.dataset.class_names
        if total.max() >= UNEQUAL * total.min():
            yield f"{names[total.argmax()]} has {total.max():,} pictures, {names[total.argmin()]} has {total.min():,}"

    def _about_repeats(self):
        repeats, split = self.repeats, self.pictures.split
        kinds = (repeats.equal, "equal to another to the last pixel"), (repeats.near, "a near duplicate of another")
        for (pairs, what), other_label in zip(kinds, repeats.other_label(), strict=True):
            if count := len(np.unique(pairs.second)):
                found = {place: number for place, number in repeats.count(pairs).items() if number}
                places = ", ".join(f"{number:,} {'between' if ' ' in place else 'in'} {place}" for place, number in found.items())
                classes = f"; {len(other_label):,} of two classes" if len(other_label) else ""
                yield f"{counted(count, 'picture')} {agreeing(count, 'is', 'are')} {what} (pairs: {places}{classes})"
        for both, groups in repeats.shared_groups().items():
            if groups:
                shown = ", ".join(map(printable, groups[:SHOWN])) + (" ..." if len(groups) > SHOWN else "")
                yield f"{counted(len(groups), 'group')} in both {both}: {shown}"
        for number, name in enumerate(self.pictures.splits):
            leaked = repeats.is_leaked()[split == number]
            if count := int(leaked.sum()):
                known = agreeing(count, "is known", "are known")
                yield f"{count:,} of {counted(len(leaked), 'picture')} of {name} {known} from an earlier split"

    def record(self):
        """Return the content of audit.json."""
        pictures, repeats = self.pictures, self.repeats
        dataset = pictures.dataset
        return {
            "dataset": dataset.name,
            "pictures": {split: len(dataset.splits[split]) for split in pictures.splits},
            "classes": {
                printable(name): dict(zip(pictures.splits, map(int, row), strict=True))
                for name, row in zip(dataset.class_names, self.counts, strict=True)
            },
            "sizes": _spread({"width": [file.width for file in self.sizes], "height": [file.height for file in self.sizes]}),
            "file_types": dict(
                zip(*(part.tolist() for part in np.unique([f.kind for f in self.sizes], return_counts=True)), strict=True)
            )
            if self.sizes
            else {},
            "notes": list(map(printable, dataset.notes)),
            "equal_pairs": repeats.count(repeats.equal),
            "near_pairs": repeats.count(repeats.near),
            "pairs_of_two_classes": dict(zip(("equal", "near"), map(len, repeats.other_label()), strict=True)),
            "groups_in_two_splits": {both: len(groups) for both, groups in repeats.shared_groups().items()},
            "known_from_an_earlier_split": {
                split: int(repeats.is_leaked()[pictures.split == i].sum()) for i, split in enumerate(pictures.splits)
            },
            "shortcuts": [vars(each) | {"is_found": bool(each.is_found)} for each in self.shortcuts],
            "label_errors": self.about_labels | {"count": len(self.label_errors)} if self.label_errors is not None else None,
            "accuracy_without_leaks": self.accuracy and {"run": self.run, **self.accuracy},
            "findings": [printable(sentence) for sentence in self.sentences()],
        }

    def look_at(self):
        """Return look-at.csv as text: a row for each picture and reason to look at it."""
        rows = [["picture", "split", "class", "why", "other", "likeness or probability"]]
        rows += [
            self._row(each.row, "probably another class", self.pictures.dataset.class_names[each.suggested], each.probability)
            for each in self.label_errors or ()
        ]
        for pairs, why in ((self.repeats.equal, "equal pixels"), (self.repeats.near, "near duplicate")):
            for first, second, likeness in zip(pairs.first, pairs.second, pairs.likeness, strict=True):
                other = f"{self.pictures.names[first]} ({self.pictures.split_name(first)}, {self.pictures.class_name(first)})"
                rows.append(self._row(second, why, other, likeness))
        groups = self.pictures.groups or ()
        by_group = self.repeats.is_leaked() & ~self.repeats.is_leaked(by_group=False)
        rows += [self._row(row, "its group is in an earlier split", groups[row] or "", "") for row in np.flatnonzero(by_group)]
        return csv_text(rows)

    def _row(self, row, why, other, number):
        pictures = self.pictures
        number = f"{number:.3f}" if number != "" else ""
        return [pictures.names[row], pictures.split_name(row), pictures.class_name(row), why, other, number]


def in_percent(shortcut):
    """Return a Shortcut's accuracy with its interval as text."""
    return f"{100 * shortcut.accuracy:.1f} % right ({100 * shortcut.low:.1f} to {100 * shortcut.high:.1f} %)"


def _spread(values):
    quantiles = ("smallest", "quarter", "median", "three_quarters", "largest")
    return {
        name: dict(zip(quantiles, np.quantile(own, (0, 0.25, 0.5, 0.75, 1)).round().astype(int).tolist(), strict=True))
        for name, own in values.items()
        if own
    }
