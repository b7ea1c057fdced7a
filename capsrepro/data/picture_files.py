"""Checks the files that `experiments.predict` is given, before any of them is decoded."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from capsrepro.core import files, text
from capsrepro.core.errors import Error

MOST_BYTES = 256 << 20
MOST_PIXELS = 25_000_000  # decoded and converted to grey, a picture takes up to 32 bytes a pixel
_DRAWABLE = 0x530  # the font of the drawings has the letters before, which are Latin, Greek and Cyrillic


def check(path: Path) -> None:
    """Checks that a picture is a regular file that can be decoded in bounded memory.

    A file that is no picture passes; the reader knows better what it is.

    Raises:
        Error: the file is missing, a folder, a pipe or a device, or is too large.
    """
    from PIL import Image

    try:
        files.regular(path, MOST_BYTES)
    except OSError as fault:
        raise Error(f"{path}: not readable ({fault.strerror}); give a PNG, JPEG or IDX file") from fault
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own bound is the next one
            with Image.open(path, formats=("PNG", "JPEG")) as picture:  # reads the header only
                width, height = picture.size
    except Exception:  # noqa: BLE001  Pillow raises many types on what is no picture
        return
    if width * height > MOST_PIXELS:
        raise Error(f"{path}: expected at most {MOST_PIXELS} pixels, received {width} x {height}; scale it down")


def check_output(output: Path, pictures: Sequence[Path]) -> None:
    """Checks the name of the drawing before anything is computed for it.

    Raises:
        Error: it is one of the pictures, a folder, or no PNG by its name.
    """
    if os.path.realpath(output) in map(os.path.realpath, pictures):
        raise Error(f"{output}: is one of the pictures; choose another --output")
    if output.suffix != ".png" or output.is_dir():
        raise Error(f"{output}: expected the name of a file that ends in .png; choose another --output")


def drawable(name: str) -> str:
    """The name of a picture as it can be written under its drawing."""
    return "".join(letter if ord(letter) < _DRAWABLE else "?" for letter in text.whole_line(name))
