"""Thirty pictures of digits as people have them: formats, orientations, shadows, papers, inks; each with its answer."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from tests.support.digits import philox

HEIGHT, WIDTH = 240, 320
Pixels = np.ndarray


class Photo(NamedTuple):
    """How a digit becomes a file: its light, its paper and ink, and how it is saved."""

    name: str  # with the suffix of its format
    light: Callable[[Pixels, Pixels], Pixels] = lambda y, x: np.ones_like(x)  # of row and column in [0, 1]
    paper: tuple[float, float, float] = (0.95, 0.95, 0.95)
    ink: tuple[float, float, float] = (0.1, 0.1, 0.1)
    turned: int = 1  # EXIF orientation
    mode: str = "RGB"
    options: Mapping[str, Any] = {}
    frames: int = 1  # of a moving picture; all but the first show nothing but paper
    larger: int = 1
    noise: float = 0.0
    dust: int = 0


def _half(y: Pixels, x: Pixels) -> Pixels:
    return np.where(x < 0.45, 0.45, 1.0)


def _diagonal(y: Pixels, x: Pixels) -> Pixels:
    return np.where(y > 0.3 + 0.6 * x, 0.5, 1.0)


def _fading(y: Pixels, x: Pixels) -> Pixels:
    return 0.25 + 0.75 * x


def _vignette(y: Pixels, x: Pixels) -> Pixels:
    return 1.0 - 1.2 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)


def _lamp(y: Pixels, x: Pixels) -> Pixels:
    return 0.3 + 0.7 * np.exp(-4 * ((x - 0.9) ** 2 + (y - 0.1) ** 2))


def _hand(y: Pixels, x: Pixels) -> Pixels:
    soft = 1 / (1 + np.exp(-40 * (np.hypot(x - 0.1, y - 1.0) - 0.6)))
    return 0.5 + 0.5 * soft


PHOTOS = (
    *(Photo(f"exif{turned}.jpg", turned=turned) for turned in range(2, 9)),
    Photo("half.png", _half),
    Photo("diagonal.jpg", _diagonal, options={"quality": 80}),
    Photo("fading.png", _fading),
    Photo("vignette.jpg", _vignette),
    Photo("lamp.bmp", _lamp),
    Photo("hand.webp", _hand, options={"quality": 80}),
    Photo("yellow.png", _fading, (0.95, 0.9, 0.4), (0.1, 0.2, 0.6)),
    Photo("red-ink.jpg", _half, ink=(0.7, 0.1, 0.1)),
    Photo("pencil.png", _vignette, ink=(0.45, 0.45, 0.45)),
    Photo("noisy.png", _fading, noise=0.02),
    Photo("dusty.png", _lamp, dust=12),
    Photo("chalk.jpg", _fading, (0.15, 0.25, 0.2), (0.95, 0.95, 0.95)),
    Photo("board.png", _half, (0.1, 0.1, 0.1), (0.9, 0.9, 0.9)),
    Photo("large.jpg", _diagonal, larger=6),
    Photo("turned-shadow.jpg", _hand, turned=6, larger=3),
    Photo("plain.bmp"),
    Photo("lossless.webp", options={"lossless": True}),
    Photo("moving.gif", frames=3, mode="L"),
    Photo("moving.webp", frames=2),
    Photo("palette.gif", _vignette, mode="P"),
    Photo("grey.png", mode="L"),
    Photo("print.jpg", mode="CMYK"),
    Photo("sixteen.png", mode="I;16"),
)


def taken(photo: Photo, digit: Pixels, folder: Path) -> Path:
    """Writes a photo of an MNIST digit, uint8 `(28, 28)`; returns its path."""
    height, width = HEIGHT * photo.larger, WIDTH * photo.larger
    side = 160 * photo.larger
    shape = ndimage.zoom(digit / 255, side / 28, order=1, grid_mode=True, mode="grid-constant").clip(0, 1)
    opacity = np.zeros((height, width))
    top, left = height // 6, width // 4
    opacity[top : top + side, left : left + side] = shape
    generator = philox(len(photo.name))
    for _ in range(photo.dust):
        row, column = (int(generator.integers(0, length - 3)) for length in (height, width))
        opacity[row : row + 2, column : column + 2] = 1.0
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width])[:, None, None]
    colours = np.asarray(photo.paper) * (1 - opacity[..., None]) + np.asarray(photo.ink) * opacity[..., None]
    pixels = colours * photo.light(y, x)[..., None] + photo.noise * generator.normal(size=(height, width, 1))
    path = folder / photo.name
    _saved(photo, pixels.clip(0, 1), path)
    return path


def _saved(photo: Photo, pixels: Pixels, path: Path) -> None:
    if photo.mode == "I;16":
        Image.fromarray((65535 * pixels[..., 0]).astype(np.uint16)).save(path)
        return
    image = Image.fromarray((255 * pixels).round().astype(np.uint8)).convert(photo.mode, palette=Image.Palette.ADAPTIVE)
    options = dict(photo.options)
    if photo.frames > 1:
        blank = Image.new(photo.mode, image.size, image.getpixel((0, 0)))
        options |= {"save_all": True, "append_images": [blank] * (photo.frames - 1)}
    if photo.turned > 1:
        exif = Image.Exif()
        exif[0x0112] = photo.turned
        # What undoes the orientation: 6 and 8 undo each other, each other one itself.
        transpose = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_90,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270,
        }[photo.turned]
        image, options["exif"] = image.transpose(transpose), exif
    image.save(path, **options)
