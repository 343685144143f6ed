"""Sources and splits: files of every kind, honest splits, sets of TensorFlow Datasets."""

import os
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import ROOT, run_python, write_images
from PIL import Image

from datasets.catalog import check_name, expected, load, pool_of, short_name
from datasets.dataset import GreyImages, Split
from datasets.images import BrokenImage, as_grey, read_image, to_rgb
from datasets.splits import level_notes, pixel_statistics
from foundation.errors import UserError


def all_images(dataset):
    splits = (dataset.train, dataset.val, dataset.test)
    return [image.tobytes() for split in splits for image in split.read()]


def test_digits_are_the_1797_scans_in_three_stratified_splits():
    digits = load("digits")
    assert [len(split) for split in (digits.train, digits.val, digits.test)] == [1437, 180, 180]
    assert digits.image_shape == (32, 32, 3) and digits.train.read().dtype == np.uint8
    assert digits.class_names == tuple("0123456789") and not digits.is_mirrored
    for split in (digits.val, digits.test):
        assert set(np.bincount(split.labels)) <= {17, 18, 19}
    assert len(set(all_images(digits))) == 1797


def test_shares_that_leave_nothing_to_train_on_are_one_line():
    with pytest.raises(UserError, match="too small to split: a share of 898 of 899 images for 10 classes"):
        load("digits", val_fraction=0.5)


def test_splits_are_a_function_of_the_seed(image_folder, in_folder):
    one, same, other = (load(f"folder:{image_folder}", seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.val.read(), same.val.read())
    assert not np.array_equal(one.val.read(), other.val.read())
    assert np.array_equal(one.test.read(), other.test.read())


def test_a_folder_of_class_folders_alone_is_split_by_the_seed(in_folder):
    write_images(in_folder / "set", ("dark", "light"), 30)
    flat = load("folder:set")
    write_images(in_folder / "same" / "train", ("dark", "light"), 30)
    usual = load("folder:same")
    assert flat.class_names == ("dark", "light") and [len(split) for split in (flat.train, flat.val, flat.test)] == [48, 6, 6]
    assert np.array_equal(flat.test.read(), usual.test.read()) and np.array_equal(flat.train.labels, usual.train.labels)
    assert any("its 2 folders are the classes" in note for note in flat.notes) and not any("classes" in n for n in usual.notes)
    assert flat.test.names("test")[0].startswith("dark/") and expected("folder:set")[0] == 48
    (in_folder / "set/output").mkdir()
    with pytest.raises(UserError, match=r"set holds output/, which is no class"):
        load("folder:set")


def test_a_folder_keeps_its_test_and_gives_a_tenth_of_train_for_val(image_folder, in_folder):
    squares = load(f"folder:{image_folder}")
    assert [len(split) for split in (squares.train, squares.val, squares.test)] == [81, 9, 24]
    assert np.bincount(squares.val.labels).tolist() == [3, 3, 3]
    assert squares.class_names == ("dark", "grey", "light")
    assert squares.image_shape == (12, 12, 3)
    assert len(set(all_images(squares))) == 114
    brightness = [squares.train.read(squares.train.labels == c).mean() for c in range(3)]
    assert brightness[0] < brightness[1] < brightness[2]


def test_a_folder_with_val_keeps_it(in_folder):
    for name, count in (("train", 6), ("valid", 3), ("test", 2)):
        write_images(in_folder / "set" / name, ("a", "b"), count, seed=count)
    loaded = load(f"folder:{in_folder / 'set'}")
    assert [len(split) for split in (loaded.train, loaded.val, loaded.test)] == [12, 6, 4]


def test_a_folder_of_train_alone_gives_val_and_test(in_folder):
    write_images(in_folder / "set" / "train", ("a", "b"), 20)
    loaded = load(f"folder:{in_folder / 'set'}")
    assert [len(split) for split in (loaded.train, loaded.val, loaded.test)] == [32, 4, 4]


def test_pictures_of_a_folder_keep_their_paths_through_every_choice(in_folder):
    root = in_folder / "set"
    write_images(root / "train", ("a", "b"), 20)
    (root / "train" / "a" / "000.png").write_bytes(b"no image")
    for colour in ("rgb", "grey"):
        loaded = load(f"folder:{root}", images_per_class=5, colour=colour)
        names = {name: split.names(name) for name, split in loaded.splits.items()}
        assert len({*names["train"], *names["val"], *names["test"]}) == sum(map(len, names.values()))
        for name, split in loaded.splits.items():
            for path, image, label in zip(names[name], split.read(), split.labels, strict=True):
                assert path.startswith(f"train/{'ab'[label]}/")
                stored = read_image(root / path, 12)
                assert np.array_equal(image, as_grey(stored[None])[0] if colour == "grey" else stored)
    assert load("digits").val.names("val")[:2] == ["val 0", "val 1"]


def test_levels_that_splits_lack_are_one_note():
    splits = {
        name: Split(np.full((4, 8, 8, 3), np.arange(4).reshape(4, 1, 1, 1), "uint8"), np.zeros(4, int)) for name in ("a", "b")
    }
    (note,) = level_notes(splits)
    assert note == "a and b have only 4 of 256 levels of brightness: were the images saved with more?"
    empty = splits | {"c": Split(np.zeros((2, 8, 8, 3), "uint8"), np.zeros(2, int))}
    assert next(level_notes(empty)) == "c has no variation: all pixels are equal"


def test_decoded_images_are_used_again_until_a_file_changes(in_folder):
    root = in_folder / "set"
    write_images(root / "train", ("a", "b"), 20)
    first = load(f"folder:{root}")
    decoded = sorted((in_folder / "data" / "decoded").iterdir())
    assert np.array_equal(load(f"folder:{root}").train.read(), first.train.read())
    assert sorted((in_folder / "data" / "decoded").iterdir()) == decoded
    Image.new("RGB", (12, 12), "red").save(root / "train" / "a" / "000.png")
    assert any((image == (255, 0, 0)).all() for image in load(f"folder:{root}", val_fraction=0.05).train.read())


RED = (200, 30, 40)


def save(path, mode):
    image = Image.new("RGB", (9, 7), RED)
    if mode == "I;16":
        Image.fromarray(np.full((7, 9), 40000, "uint16")).save(path)
    elif mode == "transparent palette":
        palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
        palette.save(path, transparency=palette.getpixel((0, 0)))
    else:
        image.convert(mode, palette=Image.Palette.ADAPTIVE).save(path)


@pytest.mark.parametrize(
    ("mode", "ending", "pixel"),
    [
        ("RGB", "png", RED),
        ("L", "png", (82, 82, 82)),
        ("P", "png", RED),
        ("RGBA", "png", RED),
        ("LA", "png", (82, 82, 82)),
        ("1", "bmp", None),
        ("CMYK", "jpg", RED),
        ("RGB", "jpg", RED),
        ("RGB", "webp", RED),
        ("I;16", "png", (156, 156, 156)),
        ("transparent palette", "png", (255, 255, 255)),
    ],
)
def test_images_of_any_mode_become_rgb(mode, ending, pixel, tmp_path):
    path = tmp_path / f"image.{ending}"
    save(path, mode)
    image = read_image(path, 16)
    assert image.shape == (16, 16, 3) and image.dtype == np.uint8
    if pixel:
        assert np.abs(image.astype(int) - pixel).max() <= 6


@pytest.mark.parametrize("mode", ["L", "I;16", "I;16B", "I", "F", "RGBA", "LA", "PA", "P", "CMYK"])
def test_an_image_is_the_same_converted_strip_by_strip(mode, monkeypatch):
    random = np.random.default_rng(0)
    if mode.startswith("I;16"):
        image = Image.frombytes(mode, (9, 7), random.bytes(9 * 7 * 2))
    elif mode in ("I", "F"):
        image = Image.fromarray(random.integers(0, 60_000, (7, 9)).astype("int32" if mode == "I" else "float32"))
    else:
        image = Image.fromarray(random.integers(0, 255, (7, 9, 4), "uint8"))
        image = image.convert("LA" if mode == "PA" else "RGBA").convert(mode)
    whole = np.asarray(to_rgb(image))
    monkeypatch.setattr("datasets.images.STRIP", 20)
    assert image.mode == mode and np.array_equal(to_rgb(image), whole)


def test_a_large_image_of_deep_grey_takes_little_memory(tmp_path):
    Image.fromarray(np.full((2000, 2000), 40_000, "uint16")).save(tmp_path / "deep.png")
    tracemalloc.start()
    level = read_image(tmp_path / "deep.png", 16)[8, 8, 0]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert level == 156 and most < 40e6  # in one piece 96e6
    with pytest.raises(BrokenImage, match="2000x2000 pixels are too many"):
        read_image(tmp_path / "deep.png", 16, largest=3_999_999)


def test_a_photograph_taken_sideways_is_turned_upright(tmp_path):
    pixels = np.zeros((16, 16, 3), "uint8")
    pixels[:, :8] = 255  # as stored, the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter to the right
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=100)
    image = read_image(tmp_path / "turned.jpg", 16).astype(int)
    assert image[:6].mean() > 240 and image[10:].mean() < 15


@pytest.mark.parametrize("fault", ["truncated", "empty", "text", "bomb"])
def test_a_file_that_holds_no_image_is_refused_with_a_reason(fault, tmp_path):
    path = tmp_path / "image.png"
    if fault == "bomb":
        Image.new("1", (20_000, 20_000)).save(path)
    else:
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50, 3), "uint8")).save(path)
        data = path.read_bytes()
        path.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "text": b"not an image"}[fault])
    with pytest.raises(BrokenImage, match=r"\w+"):
        read_image(path, 16)


def test_broken_files_are_counted_named_and_left_out(in_folder):
    root = in_folder / "set"
    write_images(root / "train", ("a", "b"), 20)
    (root / "train" / "a" / "003.png").write_bytes(b"\x89PNG broken")
    (root / "train" / "b" / "readme.txt").write_text("not an image, and not named like one")
    loaded = load(f"folder:{root}")
    assert len(all_images(loaded)) == 39
    assert "2 files of train could not be read" in loaded.notes[0]
    assert "train/a/003.png" in loaded.notes[0] and "train/b/readme.txt" in loaded.notes[0]
    assert load(f"folder:{root}").notes == loaded.notes


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: None, "no folder .*train"),
        (lambda root: (root / "train").mkdir(), "holds 0 class folders"),
        (lambda root: write_images(root / "train", ("only",), 5), "holds 1 class folder;"),
        (lambda root: [write_images(root / "train", ("a", "b"), 5), (root / "train" / "c").mkdir()], "for class c"),
        (
            lambda root: [
                write_images(root / "train", ("cat", "dog"), 5),
                write_images(root / "test", ("cat", "dogs"), 5),
            ],
            "unknown class in .*'dogs'; did you mean 'dog'",
        ),
        (
            lambda root: [write_images(root / "train", ("cat", "dog"), 5), write_images(root / "test", ("cat",), 5)],
            "no readable image in .*test for class dog",
        ),
        (lambda root: write_images(root / "train", ("a", "b"), 1), "too small to split"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_one_clear_line(spoil, words, in_folder):
    root = in_folder / "set"
    root.mkdir()
    spoil(root)
    with pytest.raises(UserError, match=words):
        load(f"folder:{root}")


def test_statistics_of_pixels_equal_numpys():
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3), "uint8")
    mean, std = pixel_statistics(Split(images, np.zeros(50, "int64")))
    np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)))
    np.testing.assert_allclose(std, (images / 255).std((0, 1, 2)))


def test_a_constant_channel_is_not_divided_by_zero():
    split = Split(np.full((2, 4, 4, 3), 7, "uint8"), np.zeros(2, "int64"))
    assert pixel_statistics(split)[1].tolist() == [1.0, 1.0, 1.0]


def test_of_many_pixels_evenly_spaced_images_serve():
    images = np.repeat(np.arange(10, dtype="uint8"), 4 * 4 * 3).reshape(10, 4, 4, 3)
    mean, _ = pixel_statistics(Split(images, np.zeros(10, "int64")), most_pixels=5 * 16)
    assert mean * 255 == pytest.approx([4, 4, 4])  # of images 0, 2, 4, 6 and 8


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("cifar10", "cifar10"),
        ("folder:/data/cifar10-jpeg/", "cifar10-jpeg"),
        ("tfds:beans", "beans"),
        ("tfds:mnist:3.0.1", "mnist-3.0.1"),
        ("tfds:visual_domain_decathlon/svhn", "visual_domain_decathlon-svhn"),
        ("folder:.", "."),
        ("shapes", "shapes"),
        ("shapes:10-varied", "shapes10-varied"),
        ("shapes:../x", "shapes..-x"),
    ],
)
def test_a_data_sets_short_name_is_part_of_the_runs(name, short):
    assert short_name(name) == short


def test_images_of_many_names_are_one_pool(in_folder):
    (in_folder / "link").symlink_to("a")
    one = (
        ("digits", "digits:0-4", "digits:5-9"),
        ("cifar10", "tfds:cifar10", "tfds:cifar10:3.0.2"),
        ("cifar100", "tfds:cifar100"),
        ("tiny_imagenet25", "tiny_imagenet200"),
        ("shapes", "shapes:10", "shapes:10-varied"),
        ("folder:a", "folder:./a/", "folder:link", f"folder:{in_folder}/b/../a"),
        ("folder:b",),
        ("indian_birds",),
    )
    pools = [{pool_of(name) for name in names} for names in one]
    assert [len(pool) for pool in pools] == [1] * len(one) and len(set.union(*pools)) == len(one)


def test_some_digits_and_few_images_of_each():
    whole, some = load("digits:5-9"), load("digits:5-9", images_per_class=5)
    assert some.class_names == tuple("56789") and len(whole.train) > 600
    assert np.bincount(some.train.labels).tolist() == [5] * 5
    assert len(some.val) == len(whole.val) and len(some.test) == len(whole.test)
    assert set(all_images(some)) <= set(all_images(whole))
    assert set(all_images(load("digits:5-9", images_per_class=5, seed=1))) != set(all_images(some))


@pytest.mark.parametrize("name", ["digit", "cifar", "folder", "tfds:", "digits:3", ""])
def test_an_unknown_data_set_is_refused(name):
    with pytest.raises(UserError):
        check_name(name)


PREPARE = """
import sys, numpy as np, tensorflow_datasets as tfds
class {name}(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("{version}")
    pkg_dir_path = "."
    def _info(self):
        image, label = tfds.features.Image(shape=(32, 32, {channels})), tfds.features.ClassLabel(num_classes={classes})
        features = {{"id": tfds.features.Text(), "image": image, "label": label}}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))
    def _split_generators(self, manager):
        return {{"train": self._generate_examples(40 * {classes}), "test": self._generate_examples(10, label={label})}}
    def _generate_examples(self, count, label=None):
        for i in range(count):
            level = 20 * (i % {classes}) + i // {classes} % 20
            yield i, {{"id": str(i), "image": np.full((32, 32, {channels}), level, "uint8"), "label": label or i % {classes}}}
{name}(data_dir="data", file_format="array_record").download_and_prepare()
"""


@pytest.mark.parametrize(
    ("name", "builder", "version", "channels", "classes"),
    [("tfds:tiny_squares", "TinySquares", "1.0.0", 1, 3), ("cifar10", "Cifar10", "3.0.2", 3, 10)],
)
def test_a_prepared_set_of_tensorflow_datasets_is_read(name, builder, version, channels, classes, in_folder):
    script = PREPARE.format(name=builder, version=version, channels=channels, classes=classes, label=None)
    prepared = run_python("-c", script, cwd=in_folder, backend="tensorflow")  # which has imported most of it
    assert prepared.returncode == 0, prepared.stderr
    loaded = load(name)
    assert [len(split) for split in (loaded.train, loaded.val, loaded.test)] == [36 * classes, 4 * classes, 10]
    assert loaded.image_shape == (32, 32, 3) and loaded.classes == classes
    for image, label in zip(loaded.train.read(), loaded.train.labels, strict=True):
        assert np.ptp(image) == 0 and image[0, 0, 0] // 20 == label
    if name == "cifar10":
        assert loaded.mean.tolist() == pytest.approx([0.4914, 0.4822, 0.4465])


def test_of_processes_that_want_a_set_of_tensorflow_datasets_at_once_one_prepares_it(in_folder, monkeypatch):
    monkeypatch.setattr("datasets.tensorflow_datasets.check_network", lambda: None)
    script = PREPARE.format(name="WantedTwice", version="1.0.0", channels=3, classes=3, label=None)
    builders, prepared = {}, []
    exec(script.rpartition("WantedTwice(")[0], builders)
    generate = builders["WantedTwice"]._split_generators
    builders["WantedTwice"]._split_generators = lambda *given: [prepared.append(1), time.sleep(0.5), generate(*given)][-1]
    with ThreadPoolExecutor(2) as pool:
        sets = list(pool.map(lambda _: load("tfds:wanted_twice"), range(2)))
    assert [len(loaded.train) for loaded in sets] == [108, 108] and len(prepared) == 1
    (in_folder / "data" / ".wanted_twice.lock").unlink()
    load("tfds:wanted_twice")
    assert not list((in_folder / "data").glob(".*"))  # where the set lies nothing is written: nobody may be allowed to


def test_a_test_split_without_labels_is_left_out(in_folder):
    script = PREPARE.format(name="Unlabelled", version="1.0.0", channels=3, classes=3, label=-1)
    prepared = run_python("-c", script, cwd=in_folder, backend="tensorflow")  # which has imported most of it
    assert prepared.returncode == 0, prepared.stderr
    loaded = load("tfds:unlabelled")
    assert [len(split) for split in (loaded.train, loaded.val, loaded.test)] == [96, 12, 12]  # test is drawn from train
    assert "test of unlabelled has images without a label and is not used" in loaded.notes


def test_a_version_of_a_set_is_named_as_it_is(in_folder):
    for name in ("tfds:mnist:9.9.9", "tfds:mnist/a=b"):
        with pytest.raises(UserError, match=r"unknown TensorFlow data set|is not one of TensorFlow Datasets' own"):
            load(name)


def test_files_of_any_name_are_read_and_hidden_copies_are_not(tmp_path):
    write_images(tmp_path / "f/train", ("dark", "light"), 20)
    dark = tmp_path / "f/train/dark"
    os.rename(dark / "000.png", os.path.join(os.fsencode(dark), b"caf\xe9.png"))
    with open(os.path.join(os.fsencode(dark), b"brul\xe9.png"), "wb") as file:
        file.write(b"no image")
    (dark / ".small").mkdir()
    (dark / ".small/001.png").write_bytes((dark / "001.png").read_bytes())
    loaded = load(f"folder:{tmp_path / 'f'}", tmp_path / "data")
    assert sum(len(split) for split in (loaded.train, loaded.val, loaded.test)) == 40
    assert len(loaded.notes) == 1 and "train/dark/brul?.png" in loaded.notes[0]


def test_threads_that_decode_leave_warnings_alone(image_folder):
    before = list(warnings.filters)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda file: read_image(file, 12), sorted(image_folder.rglob("*.png")) * 3))
    assert warnings.filters == before


def test_without_a_network_a_line_says_where_the_data_belongs(in_folder):
    process = run_python(ROOT / "train.py", "--dataset", "cifar10", cwd=in_folder)
    assert process.returncode == 2
    assert "cifar10 could not be downloaded" in process.stderr and str(in_folder / "data" / "cifar10") in process.stderr
    assert process.stderr.count("error:") == 1 and "Traceback" not in process.stderr


def test_an_unknown_set_of_tensorflow_datasets_is_one_line(in_folder):
    with pytest.raises(UserError, match="unknown TensorFlow data set 'cifer10'"):
        load("tfds:cifer10")


def test_grey_images_are_those_of_pillow_in_one_channel(image_folder, tmp_path):
    colour, grey = (load(f"folder:{image_folder}", tmp_path, colour=kind) for kind in ("rgb", "grey"))
    assert grey.image_shape == (12, 12, 1) and grey.mean.shape == (1,)
    for name in ("train", "val", "test"):
        pixels, luminance = getattr(colour, name).read(), getattr(grey, name).read()
        expected = [np.asarray(Image.fromarray(image).convert("L")) for image in pixels]
        assert np.array_equal(luminance[..., 0], expected)
    assert grey.mean[0] == pytest.approx(grey.train.read().mean() / 255, rel=1e-5)
    file = next((image_folder / "test").rglob("*.png"))
    assert np.array_equal(read_image(file, 12, 1), as_grey(read_image(file, 12)))


def test_images_become_grey_without_much_memory():
    images = np.random.default_rng(0).integers(0, 256, (4096, 32, 32, 3), "uint8")
    tracemalloc.start()
    grey = GreyImages(images)[:]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert grey.shape == (4096, 32, 32, 1) and np.array_equal(grey, as_grey(images))
    assert peak < 2 * images.nbytes + (10 << 20)


def test_the_size_of_a_set_is_known_before_it_is_loaded(image_folder, tmp_path):
    write_images(tmp_path / "bare/train", ("dark", "light"), 20, size=9)
    for name in (f"folder:{image_folder}", f"folder:{tmp_path / 'bare'}", "shapes:4", "digits:0-4"):
        dataset = load(name, tmp_path / "data")
        images, pixels, classes = expected(name)
        assert images == pytest.approx(len(dataset.train), abs=5), name  # not every class is of equal size
        assert (pixels, classes) == (dataset.image_shape[0], dataset.classes)
    assert expected(f"folder:{image_folder}", 24)[1] == 24
    assert expected("folder:nowhere") is None and expected("tfds:beans") is None
