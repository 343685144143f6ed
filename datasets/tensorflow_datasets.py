"""Data sets of TensorFlow Datasets, read by random access (`as_data_source`), without a tf.data pipeline."""

import contextlib
import hashlib
import io
import os
import socket
from pathlib import Path
from urllib.request import getproxies

import numpy as np
from PIL import Image

from datasets.access import check_download
from datasets.content import add_content
from datasets.dataset import Source, Split
from datasets.decoded import decoded
from datasets.downloads import downloading
from datasets.image_files import left_out_note
from datasets.images import BrokenImage, opened, resized, to_rgb
from datasets.samples import FULL_RANGES, TrainRanges, extent_of
from foundation.errors import UserError, first_line
from foundation.files import parse_json, read_regular

# Mean and standard deviation of the train images, as the literature gives them.
KNOWN_STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
# Sets of signs, by their names or those of their configs: a mirrored sign is another sign.
NOT_MIRRORED = frozenset(
    ("mnist", "mnist_corrupted", "emnist", "kmnist", "omniglot", "cmaterdb", "binary_alpha_digits", "svhn_cropped", "svhn")
)
VAL_NAMES = ("validation", "val", "valid", "dev")
# Keys under which a features.json names a class: two spellings of today, and one of older versions.
CLASS_KEYS = ("pythonClassName", "python_class_name", "type")
FEATURES = "tensorflow_datasets.core.features."


def load(request) -> Source:
    """Return train, and val and test if the set has them. Raises UserError if the set can't be had or has no labelled images."""
    import tensorflow_datasets as tfds

    name, folder = request.argument, request.data_dir.resolve()
    builder = _prepared(tfds, name, folder)
    names = _class_names(tfds, name, builder.info.features)
    size = request.image_size or _own_size(builder)
    splits = builder.info.splits
    if "train" not in splits:
        raise UserError(f"tfds:{name} has no train split; it has {', '.join(splits)}")
    read, notes, ranges = {}, [], None
    for split in ["train", *(split for split in splits if split in ("test", *VAL_NAMES))]:
        read[split], broken, ranges = read_split(tfds, builder, split, size, folder / "decoded", ranges)
        notes += [left_out_note(split, broken)] if broken else []
    unlabelled = [split for split, images in read.items() if (images.labels < 0).any()]
    if "train" in unlabelled:
        raise UserError(f"tfds:{name} has images without a label in its train split")
    notes += [f"{split} of {name} has images without a label and is not used" for split in unlabelled]
    read = {split: images for split, images in read.items() if split not in unlabelled}
    val = next((read[split] for split in VAL_NAMES if split in read), None)
    mean, std = KNOWN_STATISTICS.get(builder.name, (None, None))
    known_as = {builder.name, getattr(builder.builder_config, "name", builder.name)}
    is_mirrored = not known_as & NOT_MIRRORED
    assert ranges  # those of train, which is there
    return Source(read["train"], names, val, read.get("test"), mean, std, is_mirrored, notes=tuple(notes), ranges=ranges)


def _class_names(tfds, name, features):
    """Return the class names of a set of images with one class each. Raises UserError for any other set."""
    features = dict(features) if hasattr(features, "keys") else {"its records": features}
    kinds = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    if not all(isinstance(features.get(key), kind) for key, kind in kinds.items()):
        found = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in features.items())
        raise UserError(
            f"tfds:{name} is no image classification set, which has image (Image) and label (ClassLabel); it has {found}"
        )
    return tuple(features["label"].names)


def _prepared(tfds, name, folder):
    """Return the builder of a data set below the folder; download and prepare the set first if need be."""
    _check_prepared(tfds, name, folder)
    builder = _builder(tfds, name, folder)
    if builder.data_path.exists():
        return builder
    check_download(name, folder)
    try:
        check_network()
        with downloading(folder, builder.name):
            builder = _builder(tfds, name, folder)  # made again, because another process may have prepared the set meanwhile
            if not builder.data_path.exists():
                print(f"{name}: downloading to {folder}", flush=True)
                builder.download_and_prepare()
    except Exception as error:
        # Whatever the cause (no network, no space, a changed host), the user needs to know where the data belongs.
        raise UserError(
            f"{name} could not be downloaded ({first_line(error)}); on a machine with a network run this command once and "
            f"copy its {folder / name} to the same place here"
        ) from error
    return builder


def _check_prepared(tfds, name, folder):
    """Raise a UserError for names and folders that would make TensorFlow Datasets import or fetch what is not its own.

    A prepared set is data, but it names the classes of its features, and a class is found by importing the module of its name.
    """
    try:
        parsed, options = tfds.core.naming.parse_builder_name_kwargs(name)
    except (ValueError, AttributeError) as error:
        raise UserError(f"unknown TensorFlow data set '{name}': {first_line(error)}") from error
    if parsed.namespace or options.keys() - {"config", "version"}:
        raise UserError(f"tfds:{name} is not one of TensorFlow Datasets' own (allowed: tfds:NAME, /CONFIG and :VERSION after it)")
    for path in sorted(_feature_files(folder / parsed.name)):
        try:
            faults = sorted(_foreign_classes(parse_json(read_regular(path))))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} can't be read: {error}") from error
        if faults:
            raise UserError(f"{path} names {faults[0]!r}, allowed: features of tensorflow_datasets itself")


def _feature_files(folder):
    """Yield the files below a folder that name classes of features, also those that links lead to."""
    visited = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (identity := os.path.realpath(place)) in visited:
            folders.clear()
        visited.add(identity)
        if "features.json" in names:
            yield Path(place, "features.json")


def _foreign_classes(value):
    """Yield the names of classes in the content of a features.json that are not TensorFlow Datasets' own."""
    if isinstance(value, list):
        for inner in value:
            yield from _foreign_classes(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in CLASS_KEYS and isinstance(inner, str) and not inner.startswith(FEATURES):
                yield inner
            yield from _foreign_classes(inner)


def _builder(tfds, name, folder):
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return tfds.builder(name, data_dir=folder, file_format="array_record")
    except (tfds.core.registered.DatasetNotFoundError, ValueError, TypeError, AssertionError) as error:
        raise UserError(
            f"unknown TensorFlow data set '{name}' (tensorflow.org/datasets lists all): {first_line(error)}"
        ) from error


def check_network():
    """Raise OSError if no name can be resolved; TensorFlow Datasets would try for minutes before it failed."""
    if not getproxies():
        try:
            socket.getaddrinfo("www.tensorflow.org", 443)
        except OSError as error:
            raise OSError("no network") from error


def _own_size(builder):
    height, width, *_ = builder.info.features["image"].shape
    if height and width:
        return height
    raise UserError(f"tfds:{builder.info.full_name} has images of many sizes: choose one with --image-size")


def read_split(tfds, builder, split, size, cache, ranges):
    """Return (split, [(record, why its image could not be read), ...], sample ranges); `ranges` as in `datasets.folder`."""
    records = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    is_float = builder.info.features["image"].np_dtype == np.float32

    def read(i):
        record = records[i]
        with opened(io.BytesIO(record["image"])) as image:
            return np.asarray(resized(to_rgb(_as_stored(image, is_float), used), size)), record["label"]

    def extent(i):
        try:
            with opened(io.BytesIO(records[i]["image"])) as image:
                return extent_of(_as_stored(image, is_float))
        except BrokenImage:
            return None

    used = TrainRanges(len(records), extent) if ranges is None else ranges
    name = builder.info.full_name.replace("/", "-")
    target = cache / f"{name}-{split}-{size}-{_digest(builder, split, size, ranges)}"
    images, labels, broken = decoded(target, len(records), read, size, split, used)
    return Split(images, labels), [(f"record {i}", reason) for i, reason in broken], FULL_RANGES | used


def _as_stored(image, is_float):
    """Return the image of a record. The four bytes of a float are stored as the four channels of a PNG."""
    return Image.fromarray(np.asarray(image).view("<f4")[..., 0]) if is_float else image


def _digest(builder, split, size, ranges):
    digest = hashlib.sha256(f"{size}".encode())
    if ranges not in (None, FULL_RANGES):
        digest.update(f"{sorted(ranges.items())}".encode())
    add_content(digest, Path(builder.data_path), list(map(Path, builder.info.splits[split].filepaths)))
    return digest.hexdigest()[:16]
