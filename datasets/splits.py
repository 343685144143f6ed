"""From a source to three disjoint splits."""

import contextlib
from dataclasses import replace

import numpy as np
from sklearn.model_selection import train_test_split

from datasets.dataset import Dataset
from datasets.groups import notes_on_groups, numbered, share_of_groups
from foundation.errors import UserError
from foundation.grammar import agreeing, counted, listed
from foundation.randomness import generator

FEW_LEVELS = 32  # of 256; fewer are told of
LOOKED_AT = 100  # images of a split whose levels are counted


def complete(name, source, val_fraction, seed) -> Dataset:
    """The data set with whatever splits its source lacks: seeded stratified shares of train, which divide no group of pictures.

    Val and test are each `val_fraction` of the train that was found, so neither depends on the other.
    Raises UserError where train is too small to be split class by class; a class of a few images can still miss a split.
    """
    _check_labels(name, source)
    try:
        train, val, test = _divided(source, val_fraction, seed)
    except _TooSmall as error:
        raise UserError(f"data set '{name}' is too small to split: {error}; {_advice(source, seed)}") from error
    mean, std = (source.mean, source.std) if source.mean else pixel_statistics(train)
    return Dataset(
        name=name,
        train=train,
        val=val,
        test=test,
        class_names=source.class_names,
        mean=np.asarray(mean, "float32"),
        std=np.asarray(std, "float32"),
        is_mirrored=source.is_mirrored,
        is_drawn=source.val is None or source.test is None,
        class_ids=source.class_ids,
        notes=(*source.notes, *_notes({"train": train, "val": val, "test": test})),
        ranges=source.ranges,
    )


def _notes(splits):
    return *level_notes(splits), *notes_on_groups(splits)


def _check_labels(name, source):
    """Raise a UserError if an image has no class, or one that the source does not name: its files may be a stranger's."""
    classes = len(source.class_names)
    for split in filter(None, (source.train, source.val, source.test)):
        if not 0 <= split.labels.min() <= split.labels.max() < classes:
            raise UserError(f"data set '{name}' is damaged: it has images of other classes than the {classes} that it names")


def with_few(dataset, images_per_class, seed):
    """The data set with so many train images of each class, or all where a class has fewer."""
    order = generator(seed, "few images").permutation(len(dataset.train))
    labels = dataset.train.labels[order]
    kept = [order[labels == label][:images_per_class] for label in range(dataset.classes)]
    return replace(dataset, train=dataset.train.select(np.sort(np.concatenate(kept))))


class _TooSmall(Exception):
    """A split can't have a share of every class."""


def _divided(source, val_fraction, seed):
    train, val, test = source.train, source.val, source.test
    size = max(round(val_fraction * len(train)), 1)
    if test is None:
        train, test = _split_off(train, size, source.class_names, generator(seed, "test split"), 2 if val is None else 1)
    if val is None:
        train, val = _split_off(train, size, source.class_names, generator(seed, "val split"))
    return train, val, test


def _advice(source, seed):
    """The smallest fraction that works, found by trying; a set that is too small for one is tried quickly."""
    for percent in range(1, 51):
        with contextlib.suppress(_TooSmall):
            _divided(source, percent / 100, seed)
            return f"--val-fraction {percent / 100:g} works"
    return "no --val-fraction works: bring more images of the smallest classes, or val and test splits"


def _split_off(split, size, class_names, random, kept=1):
    """(the rest, about `size` images). Of pictures in groups, each class keeps `kept` groups in the rest. Raises _TooSmall."""
    if split.groups is not None:
        return _split_off_groups(split, size, class_names, random, kept)
    counts = np.bincount(split.labels, minlength=len(class_names))
    if min(size, len(split) - size) < len(class_names) or counts.min() < 2:
        smallest, few = class_names[int(counts.argmin())], int(counts.min())
        raise _TooSmall(
            f"a share of {size} of {counted(len(split), 'image')} for {counted(len(class_names), 'class', 'classes')}, "
            f"and class '{smallest}' has {counted(few, 'image')}"
        )
    kept, taken = train_test_split(
        np.arange(len(split)), test_size=size, stratify=split.labels, random_state=int(random.integers(2**31))
    )
    return split.select(np.sort(kept)), split.select(np.sort(taken))


def _split_off_groups(split, size, class_names, random, kept):
    groups = numbered(split.group_names())
    found = np.bincount(np.unique(np.stack([split.labels, groups]), axis=1)[0], minlength=len(class_names))
    if found.min() <= kept:
        smallest, few = class_names[int(found.argmin())], int(found.min())
        raise _TooSmall(
            f"class '{smallest}' has {counted(few, 'group')} of pictures for {kept + 1} splits, and a group stays in one split"
        )
    taken = share_of_groups(split.labels, groups, size, len(class_names), random, kept)
    return split.select(np.setdiff1d(np.arange(len(split)), taken)), split.select(taken)


def level_notes(splits):
    """Yield sentences on splits `{name: split}` some of whose images have lost what a network could learn from."""
    levels = {name: _count_levels(split) for name, split in splits.items()}
    if empty := [name for name in levels if levels[name] == 1]:
        yield f"{listed(empty)} {agreeing(len(empty), 'has', 'have')} no variation: all pixels are equal"
    if few := {name: count for name, count in levels.items() if 1 < count < FEW_LEVELS}:
        counts = listed(list(dict.fromkeys(map(str, few.values()))))
        has = agreeing(len(few), "has", "have")
        yield f"{listed(list(few))} {has} only {counts} of 256 levels of brightness: were the images saved with more?"


def _count_levels(split):
    """Different values of the pixels of up to LOOKED_AT images, evenly spaced; no more are counted than FEW_LEVELS needs."""
    found = np.zeros(256, bool)
    for i in np.unique(np.linspace(0, len(split) - 1, LOOKED_AT).astype(int)):
        found[np.unique(split.read([i]))] = True
        if found.sum() >= FEW_LEVELS:
            break
    return int(found.sum())


def pixel_statistics(split, most_pixels=1 << 26):
    """Mean and standard deviation per channel of a split's images, scaled to 0..1.

    Of a set of more than `most_pixels` pixels, evenly spaced images serve: 1,024 of 256x256.
    """
    _, height, width, channels = split.images.shape
    chosen = np.arange(0, len(split), -(-len(split) * height * width // most_pixels))
    total, squares, count = 0.0, 0.0, 0
    for indices in np.array_split(chosen, -(-len(chosen) * height * width // (1 << 20))):
        pixels = split.read(indices).reshape(-1, channels).astype("float64") / 255.0
        total, squares, count = total + pixels.sum(0), squares + (pixels**2).sum(0), count + len(pixels)
    mean = total / count
    # A channel without any variation is left unscaled rather than divided by zero.
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return mean, np.where(std < 1e-6, 1.0, std)
