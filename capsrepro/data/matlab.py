"""Matlab 5 files, in which SVHN and affNIST come."""

import struct
from pathlib import Path
from typing import Any

# How a variable of a Matlab 5 file begins, little-endian: compressed it may hold anything, otherwise its flags.
_COMPRESSED, _PLAIN, _FLAGS = (struct.pack("<I", kind) for kind in (15, 14, 6))


def matlab(path: Path) -> dict[str, Any]:
    """The variables of a Matlab 5 file by name.

    Other formats are kept away from scipy's reader: it takes them for Matlab 4 and asks for gigabytes. So are
    compressed variables that say they are not. One that is damaged and truly not compressed can crash it; the published
    ones are compressed, and verified before they come here.

    Raises:
        Exception: almost any: the file cannot be opened or is damaged.
    """
    import scipy.io

    with path.open("rb") as file:
        header = file.read(128)
        if 0 in header[:4] or header[124:] != b"\0\1IM":  # text, and its version, little-endian
            raise ValueError("it does not begin as one")
        while start := file.read(16):
            if not (start[:4] == _COMPRESSED or (start[:4] == _PLAIN and start[8:12] == _FLAGS)):
                raise ValueError("a variable does not begin as one")
            file.seek(int.from_bytes(start[4:8], "little") - 8, 1)
        file.seek(0)
        content: dict[str, Any] = scipy.io.loadmat(file)
    return content
