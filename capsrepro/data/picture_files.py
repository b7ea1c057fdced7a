"""The names of pictures: of the drawing that is written, and of those that it shows."""

import os
from collections.abc import Sequence
from pathlib import Path

from capsrepro.core import text
from capsrepro.core.errors import Error

_DRAWABLE = 0x530  # the font of the drawings has the letters before, which are Latin, Greek and Cyrillic


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
