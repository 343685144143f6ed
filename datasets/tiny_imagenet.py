"""Tiny-ImageNet (Wu, Zhang & Xu 2017): 200 classes of ImageNet at 64x64, or 25 of them, drawn by a seed.

Read from `data_dir/tiny-imagenet-200`, or another unpacked copy `data_dir/tiny-imagenet-*`; else the official archive is
downloaded. The official val split, whose labels are public, serves as test; val is split off train.
"""

import contextlib
import hashlib
import tempfile
import zipfile
from collections import Counter
from urllib.request import urlopen

from datasets.access import check_download
from datasets.dataset import Source
from datasets.downloads import downloading
from datasets.folder import check_every_class, decode_files
from datasets.image_files import left_out_note
from foundation.errors import UserError
from foundation.files import read_text, temporary_folder
from foundation.randomness import generator

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


def load(request) -> Source:
    """Return all classes, or for `tiny_imagenet25` those that `class_seed` draws from `wnids.txt`. Raises UserError."""
    root = _unpacked(request.data_dir)
    wnids = sorted(read_text(root / "wnids.txt").split())
    if request.argument == "tiny_imagenet25":
        wnids = draw_classes(wnids, 25, request.class_seed, root)
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    names = _class_names(root, wnids)
    train = [(file, label_of[w]) for w in wnids for file in sorted((root / "train" / w / "images").glob("*.JPEG"))]
    rows = (line.split("\t") for line in read_text(root / "val" / "val_annotations.txt").splitlines())
    test = [(root / "val" / "images" / row[0], label_of[row[1]]) for row in rows if len(row) > 1 and row[1] in label_of]
    splits, notes, ranges = {}, [], None
    for name, files in (("train", train), ("test", test)):
        splits[name], broken, ranges = decode_files(root, files, request.image_size or 64, request.data_dir, name, ranges)
        notes += [left_out_note(name, broken)] if broken else []
        check_every_class(splits[name], names, root)
    return Source(
        splits["train"], names, None, splits["test"], MEAN, STD, class_ids=tuple(wnids), notes=tuple(notes), ranges=ranges
    )


def draw_classes(wnids, count, seed, root):
    """`count` of the classes, in their order. Raises UserError where there are fewer."""
    if len(wnids) < count:
        raise UserError(f"{root / 'wnids.txt'} lists {len(wnids)} classes; {count} are to be drawn")
    chosen = generator(seed, "tiny imagenet classes").choice(len(wnids), count, replace=False)
    return [wnids[i] for i in sorted(chosen)]


def _class_names(root, wnids: list[str]):
    """Return the first word of each class in `words.txt`, with its number where two classes share it."""
    words = dict(line.split("\t", 1) for line in read_text(root / "words.txt").splitlines() if "\t" in line)
    first = [words.get(wnid, wnid).partition(",")[0].strip() for wnid in wnids]
    times = Counter(first)
    return tuple(name if times[name] == 1 else f"{name} {wnid}" for name, wnid in zip(first, wnids, strict=True))


def _unpacked(data_dir):
    """Return the folder of an unpacked copy, downloaded first if there is none."""
    official = data_dir / "tiny-imagenet-200"
    if root := _copy(data_dir, official):
        return root
    check_download(official.name, data_dir)
    try:
        with downloading(data_dir, official.name):
            if root := _copy(data_dir, official):
                return root
            _download(data_dir)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"no {official}, and {URL} could not be downloaded ({error}): download and unpack it there by hand"
        ) from error
    return official


def _copy(data_dir, official):
    """Return the official folder, else another that holds the set; None where there is none."""
    folders = (official, *sorted(data_dir.glob("tiny-imagenet-*")))
    return next((root for root in folders if (root / "wnids.txt").is_file()), None)


def _download(data_dir):
    print(f"downloading {URL} (248 MB) to {data_dir}", flush=True)
    with temporary_folder(data_dir) as folder, contextlib.ExitStack() as stack:
        archive = stack.enter_context(tempfile.TemporaryFile(dir=folder))
        digest = hashlib.sha256()
        with urlopen(URL, timeout=30) as response:
            while block := response.read(1 << 20):
                digest.update(block)
                archive.write(block)
        if digest.hexdigest() != SHA256:
            raise OSError(f"its SHA-256 is {digest.hexdigest()}, not {SHA256}")
        zipfile.ZipFile(archive).extractall(folder)
        (folder / "tiny-imagenet-200").rename(data_dir / "tiny-imagenet-200")
