"""Sources and splits: files of every kind, honest splits, sets of TensorFlow Datasets."""

import numpy as np
import pytest
from conftest import write_images

from datasets.catalog import check_name, expected, load, pool_of, short_name
from datasets.dataset import Split
from datasets.images import as_grey, read_image
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
    (in_folder / "set/output").rename(in_folder / "set/_refused")
    with pytest.raises(UserError, match=r"set holds _refused/, pictures that predict.py refused"):
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


def test_broken_files_are_counted_named_and_left_out(in_folder):
    root = in_folder / "set"
    write_images(root / "train", ("a", "b"), 20)
    (root / "train" / "a" / "003.png").write_bytes(b"\x89PNG broken")
    (root / "train" / "b" / "readme.txt").write_text("not an image, and not named like one")
    loaded = load(f"folder:{root}")
    assert len(all_images(loaded)) == 39
    assert "2 files of train were left out" in loaded.notes[0]
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


def test_the_size_of_a_set_is_known_before_it_is_loaded(image_folder, tmp_path):
    write_images(tmp_path / "bare/train", ("dark", "light"), 20, size=9)
    for name in (f"folder:{image_folder}", f"folder:{tmp_path / 'bare'}", "shapes:4", "digits:0-4"):
        dataset = load(name, tmp_path / "data")
        images, pixels, classes = expected(name)
        assert images == pytest.approx(len(dataset.train), abs=5), name  # not every class is of equal size
        assert (pixels, classes) == (dataset.image_shape[0], dataset.classes)
    assert expected(f"folder:{image_folder}", 24)[1] == 24
    assert expected("folder:nowhere") is None and expected("tfds:beans") is None
