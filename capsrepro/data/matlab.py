"""Reads Matlab 5 files, the format of SVHN and affNIST."""

import struct
from pathlib import Path
from typing import Any

# The first bytes of a variable in a Matlab 5 file, little-endian. Only an uncompressed one continues with its flags.
_COMPRESSED, _PLAIN, _FLAGS = (struct.pack("<I", kind) for kind in (15, 14, 6))


def matlab(path: Path) -> dict[str, Any]:
    """Reads the variables of a Matlab 5 file, by name.

    Other formats are rejected here, since scipy's reader takes them for Matlab 4 and allocates gigabytes. Compressed
    variables that are marked as uncompressed are rejected too. A damaged variable that really is uncompressed can still
    crash scipy's reader. The published variables are compressed, and their files are verified before they are read.

    Raises:
        Exception: of almost any type: the file cannot be opened or is damaged.
    """
    import scipy.io

    with path.open("rb") as file:
        header = file.read(128)
        if 0 in header[:4] or header[124:] != b"\0\1IM":  # a header text, then the version, little-endian
            raise ValueError("it does not begin as one")
        while start := file.read(16):
            if not (start[:4] == _COMPRESSED or (start[:4] == _PLAIN and start[8:12] == _FLAGS)):
                raise ValueError("a variable does not begin as one")
            file.seek(int.from_bytes(start[4:8], "little") - 8, 1)
        file.seek(0)
        content: dict[str, Any] = scipy.io.loadmat(file)
    return content
