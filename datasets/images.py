"""Images from outside, of any kind, as RGB squares of uint8."""

import warnings

import numpy as np
from PIL import Image, ImageOps

LARGEST = 64_000_000  # pixels; a file that claims more is taken for a bomb, not for a photograph
Image.MAX_IMAGE_PIXELS = LARGEST
STRIP = 1_000_000  # pixels converted at once: on their way to RGB some modes take 24 bytes for each
warnings.filterwarnings("ignore", module=r"PIL\.")  # what a file is to be blamed for; threads that decode share one filter
LUMINANCE = np.array([19595, 38470, 7471], "uint32")  # shares of red, green and blue in 65536


class BrokenImage(Exception):
    """A file that holds no image that could be read; the message says why."""


def read_image(path, size, channels=3, formats=None, largest=LARGEST):
    """The image file as `(size, size, channels)` uint8; upright, transparent parts on white. Raises BrokenImage.

    `formats` are the names of Pillow's decoders that may be tried; None: all. One of more than `largest` pixels is refused.
    """
    try:
        with Image.open(path, formats=formats) as image:
            if image.width * image.height > largest:
                raise BrokenImage(f"{image.width}x{image.height} pixels are too many")
            image.draft("RGB", (size, size))  # lets JPEG decode at a fraction of the size where that is enough
            ImageOps.exif_transpose(image, in_place=True)
            pixels = np.asarray(resized(to_rgb(image), size))
            return pixels if channels == 3 else as_grey(pixels)
    except BrokenImage:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their format's fault is
        raise BrokenImage(str(error) or type(error).__name__) from error


def image_size(path):
    """Width and height that an image file claims, or None where it can't be read."""
    try:
        with Image.open(path) as image:
            return image.size
    except Exception:
        return None


def printable(text):
    """A name from elsewhere, which can't steer the terminal, nor fail to be shown where it is not UTF-8."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def to_rgb(image):
    """A Pillow image of any mode in RGB: 16-bit grey is scaled, palettes resolved, alpha laid on white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    whole, rows = Image.new("RGB", image.size), max(STRIP // image.width, 1)
    top = 65535.0 if _is_deep(image) and np.asarray(image).max() > 255 else 255.0
    for y in range(0, image.height, rows):
        whole.paste(_strip_to_rgb(image.crop((0, y, image.width, min(y + rows, image.height))), top), (0, y))
    return whole


def _is_deep(image):
    return image.mode.startswith("I") or image.mode == "F"


def _strip_to_rgb(image, top):
    if _is_deep(image):
        levels = np.asarray(image, "float64")
        image = Image.fromarray(np.uint8(np.clip(levels / top, 0, 1) * 255))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def resized(image, size):
    """Stretched to a square; an image that has the size already is not touched."""
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)


def as_grey(pixels):
    """RGB `(..., 3)` uint8 as luminance `(..., 1)` uint8 (ITU-R BT.601, as Pillow computes it)."""
    return np.uint8((pixels.astype("uint32") @ LUMINANCE + 0x8000) >> 16)[..., None]


def as_rgb(array, size):
    """A decoded array `(H, W)` or `(H, W, 1 | 3 | 4)` as `(size, size, 3)` uint8."""
    if array.shape == (size, size, 3):
        return array
    array = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    return np.asarray(resized(to_rgb(Image.fromarray(array)), size))
