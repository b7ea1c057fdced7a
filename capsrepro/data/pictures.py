"""Converts pictures of single digits to MNIST's format.

MNIST's digits are light on dark, fit into 20x20 pixels, and have their centre of mass in the middle of 28x28 pixels.
"""

import gzip
import struct
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.data import ink
from capsrepro.data.batches import unit

SIDE = 28
SHAPE = (SIDE, SIDE, 1)
BOX = 20  # pixels of the longer side of a digit; sixteen of MNIST's 70,000 have 19
MIDDLE = 14  # row and column of the centre of mass of MNIST's digits, within half a pixel
SHARPEST = 800  # pixels of the longer side of a photo that are looked at; larger ones are averaged
MOST_BYTES = 256 << 20
MOST_PIXELS = 25_000_000  # decoded and converted to grey, a picture takes up to 32 bytes a pixel
LARGEST = 4096  # largest side in pixels of an image in an IDX file

_GZIP, _IDX = b"\x1f\x8b", b"\0\0\x08"
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"RIFF")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")  # Pillow reads more, but runs other programs for some
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)


class DigitPicture(NamedTuple):
    """One digit in MNIST's format."""

    name: str  # its file; for IDX files with the index from zero, as in `t10k-images-idx3-ubyte[7]`
    image: np.ndarray  # (28, 28, 1) float32 in [0, 1]
    prepared: str  # the preparation steps applied


def read(path: Path, first: int = 10) -> list[DigitPicture]:
    """Reads a PNG, JPEG, BMP, WebP or GIF picture, or the first images of an IDX file, gzipped or not.

    The format is recognised by content, not by name. A photo is turned upright by its EXIF; of several frames the first
    is read.

    Args:
        path: the file.
        first: largest number of images to read from an IDX file.

    Raises:
        Error: the file is not readable, has another format, is damaged or too large, or an image is blank.
    """
    try:
        files.regular(path, MOST_BYTES)
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as fault:
        raise Error(f"{path}: not readable ({fault.strerror}); give a picture or an IDX file") from fault
    if start.startswith((_GZIP, _IDX)):
        images = _idx(path, first, packed=start.startswith(_GZIP))
        return [prepare(unit(image), f"{path}[{number}]") for number, image in enumerate(images)]
    if start.startswith(_PICTURES):
        return [prepare(_decoded(path), str(path))]
    raise Error(f"{path}: neither a PNG, JPEG, BMP, WebP or GIF picture nor an IDX file of images; convert it to PNG")


def prepare(grey: np.ndarray, name: str) -> DigitPicture:
    """Converts a grey picture to MNIST's format; a picture already in that format is unchanged.

    The ink is what stands out from its background, see `ink.find`. Its bounding box is scaled by area averaging to a
    longer side of 20 pixels, its maximum becomes 1, and its centre of mass is moved to the middle. Several digits are
    told in `prepared`, and treated as one.

    Args:
        grey: float `(H, W)` in [0, 1], a digit on a background that is even or in shadow.
        name: name of the picture, for the result and for errors.

    Raises:
        Error: the picture is blank: no pixel differs from its background by a tenth of the range from black to white.
    """
    found = ink.find(grey)
    if not found.inverted and _is_mnist(grey):
        return DigitPicture(name, grey[..., None].astype(np.float32), "as it is")
    if found.strength.max() < ink.FAINTEST:
        raise Error(f"{name}: blank, nothing stands out from its background; give a picture with a digit in it")
    words = [
        *(["light background: inverted"] if found.inverted else []),
        *(["shadows removed"] if found.shadowed else []),
        "fitted",
    ]
    told = ", ".join(words)
    if (count := ink.digits_in(found.strength)) > 1:
        told += f"; {count} digits in it, taken for one: cut them apart"
    return DigitPicture(name, _placed(_fitted(found.strength))[..., None].astype(np.float32), told)


def _is_mnist(grey: np.ndarray) -> bool:
    """Whether size, brightness, bounding box and centre of mass are within the range of MNIST's 70,000 digits."""
    if grey.shape != (SIDE, SIDE) or grey.max() < 0.99:
        return False
    height, width = _cropped(grey).shape
    centre = [_centre(grey, axis) for axis in (0, 1)]
    return BOX - 1 <= max(height, width) <= BOX and all(abs(place - MIDDLE) < 0.6 for place in centre)


def _fitted(ink: np.ndarray) -> np.ndarray:
    """The bounding box of the ink, scaled to a longer side of 20 pixels and a maximum of 1."""
    box = _cropped(ink)
    height, width = (max(1, round(side * BOX / max(box.shape))) for side in box.shape)
    small = _area_weights(box.shape[0], height) @ box @ _area_weights(box.shape[1], width).T
    fitted: np.ndarray = small / small.max()
    return fitted


def _placed(small: np.ndarray) -> np.ndarray:
    """Places a digit on 28x28 pixels with its centre of mass in the middle, to the nearest pixel."""
    canvas = np.zeros((SIDE, SIDE))
    top, left = (
        min(max(round(MIDDLE - _centre(small, axis)), 0), SIDE - side) for axis, side in enumerate(small.shape)
    )
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def _cropped(ink: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    box: np.ndarray = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return box


def _centre(ink: np.ndarray, axis: int) -> float:
    """The row (axis 0) or column of the centre of mass."""
    mass = ink.sum(axis=1 - axis, dtype=np.float64)
    return float(mass @ np.arange(len(mass)) / mass.sum())


def _area_weights(source: int, target: int) -> np.ndarray:
    """The weights of area averaging from `source` to `target` pixels along one axis: `(target, source)`."""
    edges = np.linspace(0, source, target + 1)[:, None]
    pixels = np.arange(source)
    covered = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    shares: np.ndarray = np.maximum(covered, 0.0) * (target / source)
    return shares


def _decoded(path: Path) -> np.ndarray:
    """Decodes a picture to grey, float32 `(H, W)` in [0, 1], upright and at most `SHARPEST` pixels long."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own bound is higher
            with Image.open(path, formats=_FORMATS) as opened:  # reads the header only
                width, height = opened.size
                if width * height > MOST_PIXELS:
                    size = f"expected at most {MOST_PIXELS} pixels, received {width} x {height}"
                    raise Error(f"{path}: {size}; scale it down")
                upright, times = ImageOps.exif_transpose(opened), -(-max(opened.size) // SHARPEST)
                if upright.mode.startswith(("I", "F")):  # 16 bits
                    grey = np.clip(np.asarray(upright, np.float32) / 65535, 0, 1)
                    return np.asarray(Image.fromarray(grey).reduce(times))
                coloured = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
                return _grey(unit(np.asarray(coloured.reduce(times))))
    except Error:
        raise
    except Exception as fault:  # Pillow raises many types on damaged files
        raise Error(f"{path}: not a whole picture ({' '.join(str(fault).split())[:200]}); save it again") from fault


def _grey(pixels: np.ndarray) -> np.ndarray:
    """Converts colour to grey; transparent parts become white behind a dark drawing and black behind a light one."""
    grey: np.ndarray = pixels[..., :3] @ _LUMA
    if pixels.shape[-1] < 4:
        return grey
    opacity = pixels[..., 3]
    paper = float((grey * opacity).sum() < 0.5 * opacity.sum())
    laid: np.ndarray = grey * opacity + paper * (1 - opacity)
    return laid


def _idx(path: Path, first: int, *, packed: bool) -> list[np.ndarray]:
    """The first images of an IDX file, uint8 `(H, W)`, read one by one so that a false header cannot exhaust memory."""
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            header = file.read(16)
            if len(header) < 16 or header[:4] != _IDX + b"\x03":
                raise Error(
                    f"{path}: not an IDX file of images, which begins with 00 00 08 03; received {header[:4]!r}"
                )
            count, height, width = struct.unpack(">3I", header[4:])
            if not (count and 0 < height <= LARGEST and 0 < width <= LARGEST):
                raise Error(f"{path}: expected images of 1 to {LARGEST} pixels, received {count} of {height}x{width}")
            size = height * width
            images = [file.read(size) for _ in range(min(first, count))]
    except (OSError, EOFError, zlib.error) as fault:
        raise Error(f"{path}: not readable ({fault}); fetch it again") from fault
    for number, image in enumerate(images):
        if len(image) < size:
            raise Error(f"{path}: ends within image {number}, counted from zero, of {count}; fetch it again")
    return [np.frombuffer(image, np.uint8).reshape(height, width) for image in images]
