"""Checks of a data set as the network meets it: scale of the input, different images, labels and folders, mixing."""

from pathlib import PurePath

import numpy as np
from keras import ops

from datasets.batches import Batches, TrainingBatches
from datasets.splits import pixel_statistics
from foundation.errors import normal
from foundation.grammar import counted
from foundation.sampling import evenly_spaced
from lab.training.fitting import augmentation_of
from lab.trust.findings import finding, skipped

SAMPLE, SAMPLE_BYTES = 512, 32 << 20  # images of train that are looked at, at most, and bytes of their pixels
MEAN, DEVIATION = 0.25, 1.4  # allowed: so many deviations of the mean from 0; factor between the deviation and 1
DISTINCT = 0.5  # share of images that have to differ from all others
MIXED = 8  # batches whose mixing is looked at
MASS = 1e-3  # share of a batch's labels that mixing may move from class to class by rounding


def sample_of(split, most=SAMPLE, most_bytes=SAMPLE_BYTES):
    """Return at most so many evenly spaced images of a split, as a split; fewer if they are large."""
    return split.select(places_of_sample(split, most, most_bytes))


def places_of_sample(split, most, most_bytes):
    """Return the places in a split of at most so many evenly spaced images; fewer if they are large."""
    return evenly_spaced(len(split), min(most, max(most_bytes * len(split) // split.nbytes, 32)))


def check_scale(dataset):
    """Mean and deviation of the network's input, per channel: 0 and 1, unless pixels are scaled wrongly, or twice."""
    sample = sample_of(dataset.train)
    batches = Batches(dataset, sample)
    seen = np.concatenate([ops.convert_to_numpy(batches[i][0]) for i in range(len(batches))]).astype("float64")
    mean, deviation = seen.mean((0, 1, 2)), seen.std((0, 1, 2))
    allowed = MEAN + 4 * seen.mean((1, 2)).std(0) / len(seen) ** 0.5
    own_mean, own_deviation = pixel_statistics(sample)
    sentence = f"input has mean {_numbers(mean)} and deviation {_numbers(deviation)}"
    is_well = _is_standard(mean, deviation, allowed)
    if not is_well:
        is_twice = _is_standard(own_mean + mean * own_deviation, deviation * own_deviation, allowed)
        sentence += "; pixels are normalised twice" if is_twice else _fault_of_scale(dataset, own_mean, own_deviation)
    return finding("scale of the input", is_well, sentence, mean=mean.tolist(), deviation=deviation.tolist())


def _is_standard(mean, deviation, allowed):
    return bool((np.abs(mean) <= allowed).all() and (deviation <= DEVIATION).all() and (deviation >= 1 / DEVIATION).all())


def _fault_of_scale(dataset, mean, deviation):
    return (
        f"; the pixels of train have mean {_numbers(mean)} and deviation {_numbers(deviation)}, but are scaled by mean "
        f"{_numbers(dataset.mean)} and deviation {_numbers(dataset.std)}: the wrong mean or deviation"
    )


def _numbers(values):
    return "/".join(f"{round(float(value), 2) + 0.0:.2f}" for value in values)  # never -0.00


def check_images_differ(dataset):
    """The share of train images that are no copy of another, by their pixels, and of blank ones."""
    name = "images differ"
    signatures, count = dataset.train.signatures(), len(dataset.train)
    distinct = len(np.unique(signatures))
    pixels = sample_of(dataset.train).read()
    blank = float((pixels.min((1, 2)) == pixels.max((1, 2))).all(1).mean())
    sentence = f"{distinct:,} of {counted(count, 'image')} of train are different"
    if distinct == 1:
        sentence = f"all {counted(count, 'image')} of train are equal"
    if blank:
        sentence += f"; {100 * blank:.0f} % are of one colour"
    is_well = distinct >= DISTINCT * count and blank < DISTINCT
    return finding(name, is_well, sentence, distinct=distinct, images=count, blank=blank)


def check_folders(dataset):
    """Labels of images in files: a folder on each file's path has the name of its class."""
    name = "labels and folders"
    ids = dataset.class_ids or dataset.class_names
    words = [{normal(word).lower() for word in pair} for pair in zip(dataset.class_names, ids, strict=True)]
    every, counted_images, wrong = set().union(*words), 0, {}
    for split_name, split in dataset.splits.items():
        if split.files is None:
            return skipped(name, "the images of this data set have no files")
        for file, label in zip(split.identities(), split.labels, strict=True):
            folders = {normal(part).lower() for part in PurePath(file).parts[:-1]} & every
            counted_images += bool(folders)
            if folders and not folders & words[label]:
                wrong.setdefault(split_name, []).append(file)
    if not counted_images:
        return skipped(name, "no folder has the name of a class: labels come from elsewhere")
    total = sum(map(len, wrong.values()))
    sentence = f"{counted(counted_images, 'file')} in folders of classes, {total:,} with the label of another class"
    if wrong:
        split_name, files = next(iter(wrong.items()))
        sentence += f" (of {split_name}: {files[0]}{' ...' if len(files) > 1 else ''}): labels are shuffled or swapped"
    return finding(name, not wrong, sentence, files=counted_images, wrong={split: len(files) for split, files in wrong.items()})


def check_mixing(config, dataset):
    """Mixup and CutMix: partners are a permutation of the batch, so each class keeps its share of the batch's labels."""
    name = "mixing"
    if not (config.mixup_alpha or config.cutmix_alpha):
        return skipped(name, "mixup_alpha and cutmix_alpha are 0")
    last = (len(dataset.train) - 1) % config.batch_size + 1
    if last == 1:
        sentence = "the last batch of an epoch has one image, which is mixed with itself: choose another batch_size"
        return finding(name, False, sentence, moved=0.0, last_batch=last)
    batches = TrainingBatches(dataset, config.batch_size, config.seed, augmentation_of(config))
    moved = 0.0
    for step in range(min(batches.steps_per_epoch, MIXED)):
        labels, own = ops.convert_to_numpy(batches[step][1]), dataset.train.labels[batches.indices(step)]
        mass = labels.sum(0) - np.bincount(own, minlength=dataset.classes)
        moved = max(moved, float(np.abs(mass).sum() / 2 / len(own)))
    sentence = f"mixing moves up to {100 * moved:.1f} % of a batch's labels from class to class"
    if moved > MASS:
        sentence += " (allowed: 0): partners are no permutation of the batch, many images are mixed with one image"
    return finding(name, moved <= MASS, sentence, moved=moved, last_batch=last)
