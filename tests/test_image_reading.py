"""Image files become arrays: modes, memory, orientation, files that hold none, grey."""

import os
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import write_images
from PIL import Image

from datasets.catalog import load
from datasets.dataset import GreyImages
from datasets.images import BrokenImage, as_grey, read_image, to_rgb


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
