"""Atomic file writes and per-folder locks."""

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
    """Yields a temporary path to write to; on success its file is synced and renamed to `path`.

    On any exception the temporary file is removed and `path` stays as it was. It has the file name of `path`, since
    writers such as Keras choose the format by the suffix. It lies in a hidden folder beside `path`, so that no search
    for results finds it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    hidden = f".{path.name}.{os.getpid()}@{socket.gethostname()}."
    with tempfile.TemporaryDirectory(prefix=hidden, dir=path.parent) as folder:
        temporary = Path(folder, path.name)
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` atomically, in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Writes `content` atomically as indented JSON, with keys in their given order.

    Raises:
        ValueError: `content` has a NaN or an infinity, which JSON does not allow.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        Error: the file is missing or does not hold a JSON object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:  # RecursionError: nested too deeply
        raise Error(f"{path}: not readable as JSON ({fault}); run `dvc repro` to write it anew") from fault
    if not isinstance(content, dict):
        raise Error(
            f"{path}: expected a JSON object, received {type(content).__name__}; run `dvc repro` to write it anew"
        )
    return content


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of an uncompressed .npz file, by name.

    The memory used is bounded by the size of the file, even if its headers claim more.

    Raises:
        Exception: the file is damaged; zipfile and NumPy then raise exceptions of many types.
    """
    with zipfile.ZipFile(path) as archive:
        # Members are not compressed, so their claimed sizes must fit into the file.
        if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
            raise ValueError("its members claim to be larger than it is")
        return {name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()}


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal, computed in constant memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Locks `folder` for this process; the kernel releases the lock when the process ends, even if it is killed.

    Args:
        folder: is created if it does not exist.
        what: the activity, for the message.

    Raises:
        Busy: another process holds the lock; the message names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"  # it has the lock and has not yet written its id
            raise Busy(f"{folder}: {what} is already under way by {holder}; wait for it or stop it") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Waits for the exclusive right to read and then rewrite a file in `folder`; other processes wait meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _array(content: bytes) -> np.ndarray:
    """The array in the bytes of a .npy file, as a view: a header that claims too large an array allocates nothing."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array of another version of NumPy's format")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if by_columns else "C")


def _remove_stale(path: Path) -> None:
    """Removes temporary folders of `path` that killed processes on this machine left behind."""
    hidden = re.compile(rf"\.{re.escape(path.name)}\.(\d+)@{re.escape(socket.gethostname())}\.\w+")
    for entry in list(path.parent.iterdir()):
        if (match := hidden.fullmatch(entry.name)) and not _is_running(int(match[1])):
            shutil.rmtree(entry, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's process; a number too large for a process id
        pass
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
