"""Groups of pictures that belong together, such as those of one object, patient or burst: a group stays in one split."""

import re

import numpy as np

from datasets.labels_csv import unknown_column
from foundation.errors import UserError, printable
from foundation.grammar import agreeing, counted, listed

GROUP_COLUMN = "group"  # of a CSV, used unless `group_by` names another
SHOWN = 3  # groups that a note names
EXAMPLE = r"'(bird\d+)_'"
PAIRS = (("val", "train"), ("test", "train"), ("test", "val"))


def group_of_files(listing, group_by):
    """Return {path below the root: its group}; None if pictures have no groups.

    `group_by` is a column of the listing's CSV, or a regular expression whose first group names the picture's group in its path.
    A picture that it does not match, or whose cell is empty, has the group None: it belongs to no other. Raises UserError.
    """
    files = [file for found in listing.files.values() for file, _ in found]
    name = group_by.lower() or (GROUP_COLUMN if GROUP_COLUMN in listing.columns else "")
    if name in listing.columns:
        groups = [listing.columns[name][file] or None for file in files]
    elif not group_by:
        return None
    elif "(" not in group_by:
        has = unknown_column(name, list(listing.columns)) if listing.columns else f"{listing.root} has no CSV"
        raise UserError(f"group_by '{printable(group_by)}' is no column: {has}; a regular expression has a group: {EXAMPLE}")
    else:
        pattern = re.compile(group_by)
        groups = [_first_group(pattern.search(file.relative_to(listing.root).as_posix())) for file in files]
    if not any(groups):
        example = printable(files[0].relative_to(listing.root)) if files else "none"
        raise UserError(f"group_by '{printable(group_by or name)}' finds a group for no picture, such as {example}")
    return {str(file.relative_to(listing.root)): group for file, group in zip(files, groups, strict=True)}


def _first_group(match):
    return (match[1] or None) if match else None


def numbered(groups):
    """Return the number of each picture's group, `(N,)`, from 0 on; None is a group of one picture."""
    known = {}
    return np.array([known.setdefault((i,) if group is None else group, len(known)) for i, group in enumerate(groups)], int)


def share_of_groups(labels, groups, size, classes, random, kept):
    """Return the indices of whole groups, about `size` pictures together, with classes in the proportion of all pictures.

    `labels` are `(N,)`, `groups` as `numbered` returns them. In the order of a draw, a group is taken if it brings the classes'
    counts closer to their targets (sum of squared distances, each divided by the class's pictures). Then each class that has
    none gets the smallest group that has some. Each class keeps at least `kept` groups outside.
    """
    counts = np.zeros((groups.max() + 1, classes))
    np.add.at(counts, (groups, labels), 1)
    total = np.maximum(counts.sum(0), 1)
    distance, outside = -total * size / len(labels), (counts > 0).sum(0)  # taken minus target; groups that stay
    is_taken = np.zeros(len(counts), bool)

    def may_go(group):
        return not is_taken[group] and (outside[counts[group] > 0] > kept).all()

    def take(group):
        nonlocal distance, outside
        is_taken[group], distance, outside = True, distance + counts[group], outside - (counts[group] > 0)

    order = random.permutation(len(counts))
    for group in order:
        if ((2 * distance + counts[group]) * counts[group] / total).sum() < 0 and may_go(group):
            take(group)
    for label in range(classes):
        if not counts[is_taken, label].any():
            able = [group for group in order if counts[group, label] and may_go(group)]
            if able:
                take(min(able, key=lambda group: counts[group].sum()))
    return np.flatnonzero(is_taken[groups])


def notes_on_groups(splits):
    """Yield sentences on the groups of splits `{name: split}`; nothing if pictures have none."""
    if any(split.groups is None for split in splits.values()):
        return
    found = {name: split.group_names() for name, split in splits.items()}
    sizes = listed([f"{name} has {len(set(numbered(groups))):,}" for name, groups in found.items()])
    alone = sum(groups.count(None) for groups in found.values())
    yield f"groups of pictures: {sizes}" + (f"; {counted(alone, 'picture')} {agreeing(alone, 'has', 'have')} none" * (alone > 0))
    for split, other in PAIRS:
        if shared := shared_groups(found[split], found[other]):
            names = ", ".join(map(printable, shared[:SHOWN])) + (" ..." if len(shared) > SHOWN else "")
            are = agreeing(len(shared), "is", "are")
            yield f"{counted(len(shared), 'group')} of {split} {are} in {other} too ({names}): {split} does not judge what is new"


def shared_groups(groups, others):
    """Return the groups that are in both, in order."""
    return sorted({group for group in groups if group is not None} & set(others))
