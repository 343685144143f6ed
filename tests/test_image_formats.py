"""Image files as strangers make them: kinds known by content, samples of more bits, faults of the disk, names, links."""

import errno
import io
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, write_images
from PIL import Image

from datasets.catalog import load
from datasets.image_files import find_image_files
from datasets.images import BrokenImage, read_image, read_picture
from datasets.tensorflow_datasets import read_split
from foundation.errors import UserError, printable
from foundation.style import literal
from lab.exporting.predict import as_csv, classify, find_images, line
from lab.panels.elements import verbatim
from lab.reports.page import page

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
NOT_READ = {
    "EPS": EPS,
    "EPS with a preview": b"\xc5\xd0\xd3\xc6" + (30).to_bytes(4, "little") + bytes(22) + EPS,
    "PDF": b"%PDF-1.4\n",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "text": b"#!/bin/sh\nrm -rf /\n",
    "nothing": b"",
}


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A path that is there once a program called gs was started."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return tmp_path / "started"


@pytest.mark.parametrize("kind", NOT_READ)
def test_kinds_that_no_decoder_knows_are_refused_and_start_no_program(kind, canary, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(NOT_READ[kind])
    for reader in (lambda source: read_image(source, 8), read_picture):
        for source in (tmp_path / "cat.jpg", io.BytesIO(NOT_READ[kind])):
            with pytest.raises(BrokenImage, match="images are JPEG, PNG" if kind != "nothing" else "empty") as caught:
                reader(source)
    assert kind[:3] not in ("PDF", "SVG", "HEI") or kind in str(caught.value)
    assert not canary.exists()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BrokenImage, match="no regular file"):
        read_image(tmp_path / "pipe.png", 8)


def test_a_file_too_large_for_memory_is_read_from_the_disk(tmp_path, monkeypatch):
    Image.new("RGB", (16, 16), (9, 90, 200)).save(tmp_path / "x.tif", compression="tiff_lzw")
    monkeypatch.setattr("datasets.images.IN_MEMORY", 100)
    assert read_image(tmp_path / "x.tif", 8)[4, 4].tolist() == [9, 90, 200]


class Prepared:
    """What a prepared set of TensorFlow Datasets is to its reader: records whose images are still files."""

    def __init__(self, records, dtype):
        feature = SimpleNamespace(np_dtype=np.dtype(dtype))
        split = SimpleNamespace(filepaths=[])
        self.info = SimpleNamespace(full_name="a/1.0.0", features={"image": feature}, splits={"train": split})
        self.data_path = "."
        self.records = [{"image": record, "label": i} for i, record in enumerate(records)]

    def as_data_source(self, split, decoders):
        assert decoders == {"image": "as it is"}
        return self.records


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_records_of_tensorflow_datasets_are_decoded_by_the_same_rules(canary, tmp_path):
    as_they_are = SimpleNamespace(decode=SimpleNamespace(SkipDecoding=lambda: "as it is"))
    deep = [png(np.full((8, 8), level, "uint16")) for level in (0, 1000, 4000)]
    split, broken, ranges = read_split(as_they_are, Prepared([*deep, EPS], "uint16"), "train", 8, tmp_path / "deep", None)
    assert split.read()[:, 0, 0, 0].tolist() == [0, 64, 255] and split.labels.tolist() == [0, 1, 2]
    assert ranges["integer"] == (0, 4000)
    assert [place for place, _ in broken] == ["record 3"] and "PostScript" in broken[0][1] and not canary.exists()
    floats = [png(np.full((8, 8), level, "float32").view("uint8").reshape(8, 8, 4)) for level in (-1.0, 0.0, 3.0)]
    split, _, ranges = read_split(as_they_are, Prepared(floats, "float32"), "train", 8, tmp_path / "float", None)
    assert split.read()[:, 0, 0, 0].tolist() == [0, 64, 255] and ranges["float"] == (-1, 3)


def test_pictures_are_opened_in_one_place():
    sources = [path for path in ROOT.glob("**/*.py") if not {"tests", ".venv"} & set(path.relative_to(ROOT).parts)]
    opening = [path.name for path in sources if "Image.open(" in path.read_text()]
    assert len(sources) > 50 and opening == ["images.py"]


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(tmp_path):
    file = io.BytesIO()
    Image.new("L", (1000, 1000), 128).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    last = content.rindex(b"\xff\xda")
    path = tmp_path / "scans.jpg"
    path.write_bytes(content[:last] + content[last:-2] * 5000 + content[-2:])
    with pytest.raises(BrokenImage, match="scans of 1,000,000 pixels are too many"):
        read_image(path, 8)
    path.write_bytes(content[:last] + content[last:-2] * 20 + content[-2:])
    assert read_image(path, 8).shape == (8, 8, 3)


SAVED_AS = {"jfif": "JPEG", "jpe": "JPEG", "JPG_large": "JPEG", "avif": "AVIF", "jp2": "JPEG2000", "mpo": "MPO", "": "PNG"}
SAVED_AS |= {"dat": "TIFF", "webp": "WEBP", "pnm": "PPM", "bmp": "BMP", "img": "GIF"}


def test_files_are_read_by_their_content_whatever_they_are_called(tmp_path):
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for ending, kind in SAVED_AS.items():
            image = Image.fromarray(random.integers(0, 256, (16, 16, 3), "uint8"))
            image.save(tmp_path / "train" / name / f"x.{ending}".rstrip("."), format=kind)
    (tmp_path / "train/a/labels.csv").write_text("x,y\n")
    (tmp_path / "train/a/photo.heic").write_bytes(NOT_READ["HEIC"])
    os.mkfifo(tmp_path / "train/a/pipe.jpg")
    (tmp_path / "train/b/gone.jpg").symlink_to("nowhere")
    dataset = load(f"folder:{tmp_path}", tmp_path / "data")
    assert sum(map(len, (dataset.train, dataset.val, dataset.test))) == 2 * len(SAVED_AS)
    (note,) = dataset.notes
    assert note.startswith("4 files of train") and "train/a/labels.csv: an unknown kind of file; images are JPEG" in note
    assert "train/a/photo.heic: HEIC" in note and "train/a/pipe.jpg: no regular file" in note
    assert load(f"folder:{tmp_path}", tmp_path / "data").notes == dataset.notes


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path):
    write_images(tmp_path / "elsewhere", ("more",), 3)
    write_images(tmp_path / "train", ("a", "b"), 2)
    own = tmp_path / "train/a"
    (own / "linked").symlink_to(tmp_path / "elsewhere/more")
    (own / "linked twice").symlink_to(tmp_path / "elsewhere/more")
    (own / "loop").symlink_to(own)
    (own / "up").symlink_to(tmp_path)
    (own / "itself").symlink_to("itself")
    (tmp_path / "elsewhere/more/back").symlink_to(own)
    images, others = find_image_files(own)
    assert [str(file.relative_to(own)) for file in images] == ["000.png", "001.png", *(f"linked/00{i}.png" for i in range(3))]
    assert [(file.name, reason) for file, reason in others] == [("itself", "a link to nothing")]


def test_files_come_in_the_order_of_their_paths(tmp_path):
    for name in ("b/x.png", "b.png", "a-b/y.png", "a/z.png", "a/c/w.png", "A.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_image_files(tmp_path)[0] == sorted(tmp_path.rglob("*.png"))


def test_a_map_beside_its_picture_is_no_picture(tmp_path):
    maps = ["a.b.map.png", "robin.jpg.map.png", "robin.map.png"]
    pictures = ["a.b.tif", "robin.jpg", "sub/robin.jpg.map.png", "world.map.png"]
    for name in maps + pictures:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    images, others = find_image_files(tmp_path)
    assert [str(file.relative_to(tmp_path)) for file in images] == pictures
    assert [(file.name, told) for file, told in others] == [(name, "a map of the picture beside it") for name in maps]


@pytest.mark.parametrize(
    "fault", [PermissionError(errno.EACCES, "Permission denied"), OSError(errno.EIO, "I/O error"), MemoryError()]
)
def test_a_fault_of_the_system_ends_decoding_and_is_not_remembered(fault, tmp_path, monkeypatch):
    import datasets.images

    write_images(tmp_path / "train", ("a", "b"), 10)
    ordinary = datasets.images.open_image_file

    def failing(source):
        if str(source).endswith("a/003.png"):
            raise fault
        return ordinary(source)

    monkeypatch.setattr("datasets.images.open_image_file", failing)
    with pytest.raises(UserError, match="too little memory" if isinstance(fault, MemoryError) else r"can't be read.*a/003\.png"):
        load(f"folder:{tmp_path}", tmp_path / "data", image_size=8)
    monkeypatch.undo()
    whole = load(f"folder:{tmp_path}", tmp_path / "data", image_size=8)
    assert sum(map(len, (whole.train, whole.val, whole.test))) == 20 and whole.notes == ()


def test_a_header_that_points_before_the_file_is_the_files_fault(tmp_path):
    Image.new("I;16", (4, 4)).save(tmp_path / "x.tif")
    content = bytearray((tmp_path / "x.tif").read_bytes())
    content[4:8] = b"\xff\xff\xff\xff"
    (tmp_path / "x.tif").write_bytes(content)
    with pytest.raises(BrokenImage):
        read_image(tmp_path / "x.tif", 8)


NAMES = ["a\xa0b", "a b", "日\u3000本", "क्\u200dष", os.fsdecode(b"caf\xe9"), os.fsdecode(b"caf\xe8"), "x\x1b[2J", "line\nbreak"]


def test_class_names_are_those_of_the_folders(tmp_path):
    write_images(tmp_path / "train", NAMES, 5, size=8)
    dataset = load(f"folder:{tmp_path}", tmp_path / "data", val_fraction=0.2)
    assert sorted(dataset.class_names) == sorted(NAMES)
    assert sorted(json.loads(json.dumps(dataset.class_names))) == sorted(NAMES)


def test_names_are_made_printable_when_they_are_printed():
    shown = ["a b", "a b", "日 本", "क्\u200dष", "caf?", "caf?", "x?[2J", "line?break"]
    assert [printable(name) for name in NAMES] == shown
    assert all(name.encode() for name in map(printable, NAMES))


def test_a_network_is_shown_pictures_on_the_scale_of_its_training(tmp_path):
    class Brightness:
        image_size, channels, class_names, ranges = 8, 3, ("bright", "dark"), {"integer": (0, 4095), "float": (0.0, 1.0)}

        def __call__(self, images):
            level = images.astype("float32").mean((1, 2, 3)) / 255
            return np.stack([level, np.zeros_like(level)], axis=1)

    Image.fromarray(np.full((16, 16), 4095, "uint16")).save(tmp_path / "x.png")
    (tmp_path / "notes.txt").write_text("no image")
    files, notes = find_images([tmp_path])
    ((_, classes, _),) = classify(Brightness(), files, 2)
    assert classes[0] == ("bright", pytest.approx(1 / (1 + np.exp(-1))))
    assert len(notes) == 1 and "notes.txt: an unknown kind of file" in notes[0]


def test_a_table_of_answers_keeps_the_bytes_of_names(tmp_path):
    found = [(tmp_path / os.fsdecode(b"caf\xe9.png"), [(os.fsdecode(b"th\xe9"), 0.5)])]
    assert as_csv(found, 1).endswith(b"/caf\xe9.png,th\xe9,0.500000\n")
    assert "caf?.png" in line(*found[0], 10)


def test_pages_and_figures_show_names_that_are_not_utf_8():
    name = os.fsdecode(b"caf\xe9")
    assert "caf?" in page(name, [("heading", name), ("table", [[name]])])
    assert verbatim(name) == literal(name) == "caf?"
