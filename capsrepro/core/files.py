"""Files that are either there whole or not at all, and folders that one process works in at a time."""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import socket
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from capsrepro.core.errors import Busy, Error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to; what is there on success is synced and renamed to `path`.

    On any exception it is removed and `path` stays as it was. It has the name of `path`, since writers such as Keras
    choose the format by the suffix, and lies in a hidden folder beside it, where nobody who looks for results finds it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path)
    hidden = f".{path.name}.{os.getpid()}@{socket.gethostname()}."
    with tempfile.TemporaryDirectory(prefix=hidden, dir=path.parent) as folder:
        temporary = Path(folder, path.name)
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes `text` (UTF-8) to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Writes `content` as indented JSON in the order of its keys; NaN is refused, since it is not JSON."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        Error: the file is missing or does not hold a JSON object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:  # the last where it is nested too deeply
        raise Error(f"{path}: not readable as JSON ({fault}); run `dvc repro` to write it anew") from fault
    if not isinstance(content, dict):
        raise Error(
            f"{path}: expected a JSON object, received {type(content).__name__}; run `dvc repro` to write it anew"
        )
    return content


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an uncompressed .npz file, in no more memory than the file has bytes, whatever its headers claim.

    Raises:
        Exception: the file is damaged: zipfile and NumPy then raise almost anything.
    """
    with zipfile.ZipFile(path) as archive:
        # Not compressed: what a member claims to hold has to fit into the file.
        if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
            raise ValueError("its members claim to be larger than it is")
        return {name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()}


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal, read in pieces of constant memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Holds `folder` for this process; the kernel lets go of it when the process ends, however it ends.

    Raises:
        Error: another process holds it; the message says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"  # which has not yet said who it is
            raise Busy(f"{folder}: {what} is already under way by {holder}; wait for it or stop it") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Waits until no other process is in such a block of `folder`: for a reading and a writing that belong together."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _array(content: bytes) -> np.ndarray:
    """The array that the bytes of a .npy file hold; they, not what their header claims, are all the memory it takes."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array of another version of NumPy's format")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if by_columns else "C")


def _remove_left(path: Path) -> None:
    """Removes what killed processes of this machine left of `path`."""
    hidden = re.compile(rf"\.{re.escape(path.name)}\.(\d+)@{re.escape(socket.gethostname())}\.\w+")
    for entry in list(path.parent.iterdir()):
        if (match := hidden.fullmatch(entry.name)) and not _lives(int(match[1])):
            shutil.rmtree(entry, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's; a number that no process has
        pass
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
