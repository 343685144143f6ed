"""The data sets of the other studies: Tiny-ImageNet's own layout and draw of classes, the birds' lenient names."""

import hashlib
import io
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import ROOT, run_python, write_images
from PIL import Image

from datasets import indian_birds, tiny_imagenet
from datasets.catalog import load
from foundation.errors import UserError

WNIDS = [f"n{number:08d}" for number in range(100, 130)]


@pytest.fixture
def tiny(in_folder):
    """Thirty classes of five train and two val images, in the official layout; the grey level of an image is its class."""
    root = in_folder / "data" / "tiny-imagenet-30"
    (root / "val" / "images").mkdir(parents=True)
    rows = []
    for label, wnid in enumerate(WNIDS):
        (root / "train" / wnid / "images").mkdir(parents=True)
        for i in range(10):
            mode = "L" if i == 0 else "RGB"
            grey(label, mode).save(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", quality=95)
        for i in range(2):
            grey(label).save(root / "val" / "images" / f"val_{2 * label + i}.JPEG", quality=95)
            rows.append(f"val_{2 * label + i}.JPEG\t{wnid}\t0\t0\t10\t10")
    np.random.default_rng(0).shuffle(rows)
    (root / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    (root / "wnids.txt").write_text("\n".join(reversed(WNIDS)) + "\n")
    words = [f"{wnid}\tthing {i // 2}, also called so" for i, wnid in enumerate(WNIDS)]
    (root / "words.txt").write_text("\n".join(words))
    return root


def grey(label, mode="RGB"):
    return Image.new(mode, (64, 64), 8 * label if mode == "L" else (8 * label,) * 3)


def test_official_val_is_test_and_every_image_has_its_class(tiny):
    loaded = load("tiny_imagenet200")
    assert [len(split) for split in (loaded.train, loaded.val, loaded.test)] == [270, 30, 60]
    assert loaded.image_shape == (64, 64, 3) and loaded.class_ids == tuple(WNIDS)
    for split in (loaded.train, loaded.val, loaded.test):
        levels = split.read().reshape(len(split), -1).astype(float)
        assert np.ptp(levels, axis=1).max() == 0
        assert np.array_equal(levels[:, 0] / 8, split.labels)
    assert loaded.class_names[:2] == ("thing 0 n00000100", "thing 0 n00000101")
    assert loaded.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_the_draw_of_classes_is_a_function_of_its_seed(tiny):
    drawn = [load("tiny_imagenet25", class_seed=seed) for seed in (201, 201, 202)]
    assert drawn[0].class_ids == drawn[1].class_ids != drawn[2].class_ids
    assert len(set(drawn[0].class_ids)) == 25 and list(drawn[0].class_ids) == sorted(drawn[0].class_ids)
    # The seed of the split, of weights and of augmentation leaves the classes alone.
    assert load("tiny_imagenet25", seed=5, class_seed=201).class_ids == drawn[0].class_ids
    test = drawn[0].test
    levels = test.read()[:, 0, 0, 0] // 8
    assert [WNIDS[level] for level in levels] == [drawn[0].class_ids[label] for label in test.labels]


@pytest.mark.parametrize("lost", ["words.txt", "val/val_annotations.txt", "val/images/val_3.JPEG"])
def test_an_incomplete_copy_is_one_line(lost, tiny):
    annotations = tiny / "val" / "val_annotations.txt"
    annotations.write_text(annotations.read_text() + "\n")
    load("tiny_imagenet200")
    (tiny / lost).unlink()
    with pytest.raises(UserError, match=f"'tiny_imagenet200' can't be read: .*{lost}"):
        load("tiny_imagenet200")


def test_fewer_classes_than_are_drawn_are_refused(tiny):
    (tiny / "wnids.txt").write_text("\n".join(WNIDS[:20]))
    with pytest.raises(UserError, match="lists 20 classes; 25 are to be drawn"):
        load("tiny_imagenet25")


def test_a_run_remembers_what_its_labels_mean(tiny, in_folder):
    flags = "--dataset tiny_imagenet25 --model resnet6n2 --n 1 --epochs 1 --warmup-epochs 0 --image-size 8 --run r"
    process = run_python(ROOT / "train.py", *flags.split(), cwd=in_folder)
    assert process.returncode == 0, process.stderr
    import json

    classes = json.loads((in_folder / "output" / "r" / "classes.json").read_text())
    assert [entry["id"] for entry in classes] == list(load("tiny_imagenet25", class_seed=201).class_ids)
    assert [entry["label"] for entry in classes] == list(range(25))


def test_without_copy_or_network_a_line_says_what_to_put_where(in_folder, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr(tiny_imagenet, "urlopen", refuse)
    with pytest.raises(UserError, match=r"no data/tiny-imagenet-200, and http.*zip could not be downloaded \(no network\)"):
        load("tiny_imagenet25")


def test_an_archive_with_another_digest_is_not_unpacked(in_folder, monkeypatch):
    monkeypatch.setattr(tiny_imagenet, "urlopen", lambda *arguments, **options: io.BytesIO(b"something else"))
    with pytest.raises(UserError, match="its SHA-256 is"):
        load("tiny_imagenet200")
    assert [path.name for path in (in_folder / "data").iterdir()] == [".tiny-imagenet-200.lock"]


def test_of_processes_that_want_the_set_at_once_one_downloads_it(tiny, in_folder, monkeypatch):
    archive, downloads = io.BytesIO(), []
    with zipfile.ZipFile(archive, "w") as file:
        for path in tiny.rglob("*.*"):
            file.write(path, "tiny-imagenet-200" / path.relative_to(tiny))
    load("tiny_imagenet200", "data")
    assert not list((in_folder / "data").glob(".*"))  # where the set lies nothing is written: nobody may be allowed to

    def fetch(*arguments, **options):
        downloads.append(1)
        time.sleep(0.5)
        return io.BytesIO(archive.getvalue())

    monkeypatch.setattr(tiny_imagenet, "urlopen", fetch)
    monkeypatch.setattr(tiny_imagenet, "SHA256", hashlib.sha256(archive.getvalue()).hexdigest())
    with ThreadPoolExecutor(2) as pool:
        sets = list(pool.map(lambda _: load("tiny_imagenet200", "elsewhere"), range(2)))
    assert [len(loaded.test) for loaded in sets] == [60, 60] and len(downloads) == 1


def test_birds_are_recognised_whatever_their_spelling(in_folder):
    spellings = (lambda name: name.upper().replace(" ", "-"), lambda name: name.lower().replace(" ", "_"))
    spelled = [spellings[i % 2](name) for i, name in enumerate(indian_birds.SPECIES)]
    root = in_folder / "data" / "indian_birds"
    for split, count in (("train", 3), ("valid", 1), ("test", 1)):
        write_images(root / split, spelled, count, size=8)
    loaded = load("indian_birds", image_size=8)
    assert loaded.class_names == indian_birds.SPECIES
    assert [len(split) for split in (loaded.train, loaded.val, loaded.test)] == [75, 25, 25]


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["Cattle Egret", "Hoope"], "did you mean 'Hoopoe'"),
        (["Cattle Egret", "Hoopoe"], "lacks 23 of the 25 species: Asian Green Bee Eater"),
        ([], "download the 25 Indian bird species"),
    ],
)
def test_birds_that_are_not_the_25_are_refused(folders, words, in_folder):
    if folders:
        write_images(in_folder / "data" / "indian_birds" / "train", folders, 2, size=8)
    with pytest.raises(UserError, match=words):
        load("indian_birds")
