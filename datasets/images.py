"""Image files: the one place that knows which kinds are decoded and opens them, as RGB squares of uint8."""

import errno
import io
import os
import stat
import warnings
from contextlib import contextmanager
from importlib import import_module

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from datasets.samples import FULL_RANGES, deep_kind, to_levels

# Pillow's decoders that are ever tried, known by a file's content; MPO, photographs of two lenses, is read as its JPEG. None
# of them starts another program, as those of EPS do.
DECODERS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
for plugin in ("Avif", "Bmp", "Gif", "Jpeg", "Jpeg2K", "Mpo", "Png", "Ppm", "Tiff", "WebP"):
    import_module(f"PIL.{plugin}ImagePlugin")  # else Pillow imports every plugin it has on meeting the first rare file
# Endings that such files usually have. A file of another ending is looked into before it is believed to be an image.
ENDINGS = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jp2"}
ENDINGS |= {".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"}
OTHER_KINDS = {b"%!PS": "PostScript", b"\xc5\xd0\xd3\xc6": "PostScript", b"%PDF": "PDF", b"<svg": "SVG", b"8BPS": "Photoshop"}
HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}  # brands of the box that such a file begins with

LARGEST = 64_000_000  # pixels; a file that claims more is taken for a bomb, not for a photograph
Image.MAX_IMAGE_PIXELS = LARGEST
MOST_SCANS = 4_000_000_000  # scans of a JPEG times its pixels, at most: 5 seconds; a photograph has about ten scans
SHORTEST_SCAN = 10  # bytes
SEEKS = {errno.EINVAL, errno.EOVERFLOW}  # what the system says of places before a file's start, where damaged headers point
IN_MEMORY = 16 << 20  # bytes of a file that is read at once
STRIP = 1_000_000  # pixels converted at once: on their way to RGB some modes take 24 bytes for each
warnings.filterwarnings("ignore", module=r"PIL\.")  # what a file is to be blamed for; threads that decode share one filter
LUMINANCE = np.array([19595, 38470, 7471], "uint32")  # shares of red, green and blue in 65536


class BrokenImage(ValueError):
    """A file whose content is no image that can be read; the message says why."""


@contextmanager
def opened(source, largest=LARGEST):
    """The Pillow image of a path, or of a binary file; its first frame.

    Raises BrokenImage, also for whatever goes wrong with its pixels within the block, where the file's content is to blame, and
    OSError or MemoryError where the system is: what can't be read now may be readable tomorrow.
    """
    try:
        with open_image_file(source) as file, _identified(file) as image:
            if image.width * image.height > largest:
                raise BrokenImage(f"{image.width}x{image.height} pixels are too many")
            _check_scans(image, file)
            yield image
    except (BrokenImage, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise whatever their format's fault is
        if isinstance(error, OSError) and error.errno and error.errno not in SEEKS:
            error.filename = error.filename or str(source)
            raise
        raise BrokenImage(str(error) or type(error).__name__) from error


def open_image_file(source):
    """Return a binary file of a path, in memory where it is of a usual size: decoders go to and fro in it."""
    if not isinstance(source, str | os.PathLike):
        return source
    file = io.FileIO(source, opener=_open_regular)
    if os.fstat(file.fileno()).st_size > IN_MEMORY:
        return io.BufferedReader(file)
    with file:
        return io.BytesIO(file.readall())


def _open_regular(path, flags):
    """Return a descriptor for a regular file; a pipe would wait for somebody to write. Raises BrokenImage."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BrokenImage("no regular file")
    return descriptor


def _identified(file):
    try:
        return Image.open(file, formats=DECODERS)
    except UnidentifiedImageError as error:
        file.seek(0)
        raise BrokenImage(unread_kind(file.read(64))) from error


def kind_of(start) -> str | None:
    """Return the decoder of a file that begins with these bytes, 16 or more; None where it is none of DECODERS."""
    return next((kind for kind in DECODERS if (accepts := Image.OPEN[kind][1]) and accepts(start[:16]) is True), None)


def unread_kind(start) -> str:
    """Return why a file that begins with these bytes, 64 or all it has, is not read."""
    if not start:
        return "empty"
    if kind := kind_of(start):
        return f"a damaged {kind} file"
    kind = next((name for magic, name in OTHER_KINDS.items() if magic in start), None)
    kind = "HEIC" if start[4:8] == b"ftyp" and start[8:12] in HEIF else kind
    return f"{kind or 'an unknown kind of file'}; images are {', '.join(DECODERS[:-1])} and {DECODERS[-1]}"


def _check_scans(image, file):
    """Raise BrokenImage for a JPEG, in a TIFF too, whose scans would take minutes: each passes over all pixels again."""
    pixels = image.width * image.height
    if image.format == "TIFF" and image.info.get("compression") == "jpeg":  # each of its strips or tiles is a JPEG
        tags = image.tag_v2
        pixels = min(pixels, tags.get(322, image.width) * tags.get(323, tags.get(278, image.height)))
    elif image.format not in ("JPEG", "MPO") and image.info.get("compression") != "tiff_jpeg":
        return
    place = file.tell()
    size = file.seek(0, io.SEEK_END)
    if size // SHORTEST_SCAN * pixels > MOST_SCANS:
        file.seek(0)
        scans = file.read().count(b"\xff\xda")  # which compressed data never holds
        if scans * pixels > MOST_SCANS:
            raise BrokenImage(f"{scans:,} scans of {pixels:,} pixels are too many")
    file.seek(place)


def read_image(source, size, channels=3, ranges=FULL_RANGES, largest=LARGEST):
    """Return the image file as `(size, size, channels)` uint8; upright, transparent parts on white.

    `ranges` say which samples of more than 8 bits become 0 and 255, see `datasets.samples`. Raises what `opened` does.
    """
    with opened(source, largest) as image:
        image.draft("RGB", (size, size))  # lets JPEG decode at a fraction of the size where that is enough
        ImageOps.exif_transpose(image, in_place=True)
        pixels = np.asarray(resized(to_rgb(image, ranges), size))
        return pixels if channels == 3 else as_grey(pixels)


def read_picture(source):
    """Return a picture that the program drew earlier, `(H, W, 3)` uint8 as it is. Raises what `opened` does."""
    with opened(source) as image:
        return np.asarray(to_rgb(image))


def image_size(path) -> tuple[int, int] | None:
    """Return the width and height that an image file claims, or None where it can't be read."""
    try:
        with opened(path) as image:
            return image.size
    except (BrokenImage, OSError):
        return None


def to_rgb(image, ranges=FULL_RANGES):
    """Return a Pillow image of any mode in RGB: samples of more than 8 bits scaled, palettes resolved, alpha laid on white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    whole, rows = Image.new("RGB", image.size), max(STRIP // image.width, 1)
    for y in range(0, image.height, rows):
        whole.paste(_strip_to_rgb(image.crop((0, y, image.width, min(y + rows, image.height))), ranges), (0, y))
    return whole


def _strip_to_rgb(image, ranges):
    if kind := deep_kind(image):
        image = Image.fromarray(to_levels(np.asarray(image), ranges[kind]))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def resized(image, size):
    """Return an image stretched to a square; an image that has the size already is not touched."""
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)


def as_grey(pixels):
    """Return RGB `(..., 3)` uint8 as luminance `(..., 1)` uint8 (ITU-R BT.601, as Pillow computes it)."""
    return ((pixels.astype("uint32") @ LUMINANCE + 0x8000) >> 16).astype("uint8")[..., None]
