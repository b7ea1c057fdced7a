"""Arrays: checksums, and .npy and .npz files with headers of one's choice."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

SHAPES = st.lists(st.integers(0, 3) | st.sampled_from([2**31, 2**62, -1]), max_size=4).map(tuple)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "shape": SHAPES,
        "descr": st.sampled_from(["|O", "<f4", "|u1", "<f8", "|S7", "|V3", "<M8[s]"]),
        "fortran_order": st.booleans(),
    },
)


class Trap:
    """What unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def npy(array: np.ndarray, **header: Any) -> bytes:
    """A .npy file; `header` says what the array is not."""
    with io.BytesIO() as file:
        facts = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | header
        np.lib.format.write_array_header_1_0(file, facts)
        return file.getvalue() + (b"" if array.dtype.hasobject else array.tobytes())


def npz(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A .npz file of .npy files."""
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return file.getvalue()


def checksum(array: np.ndarray) -> str:
    """SHA-256 over type, shape and content, little-endian."""
    content = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return hashlib.sha256(f"{array.dtype.name} {array.shape} ".encode() + content.tobytes()).hexdigest()
