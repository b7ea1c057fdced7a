"""Reads of regular files, atomic file writes and per-folder locks."""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import socket
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from capsrepro.core.errors import Busy, Error
from capsrepro.core.text import one_line

MOST_TEXT = 64 << 20  # bytes of a file of text that is read as a whole

_MOST_HIDDEN = 40  # characters of a file's name in that of its temporary folder; names have at most 255 bytes
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"} | dict.fromkeys(
    (stat.S_IFCHR, stat.S_IFBLK), "a device"
)


def regular(path: Path, most: int | None = None) -> Path:
    """Returns `path` if it is a regular file, or a link to one; opening a pipe or a device could wait for ever.

    Args:
        path: the file.
        most: largest size in bytes; None: any.

    Raises:
        OSError: there is no such file, or it must not be looked at.
        Error: it is a folder, a pipe, a device or a socket, or larger than `most`.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise Error(f"{path}: expected a file, received {_KINDS.get(stat.S_IFMT(status.st_mode), 'none')}; name a file")
    if most is not None and status.st_size > most:
        raise Error(f"{path}: expected at most {most} bytes, received {status.st_size}; look what it is")
    return path


def read_text(path: Path) -> str:
    """Reads a regular file of UTF-8.

    Raises:
        OSError: there is no such file, or it is not readable.
        Error: it is no regular file or too large, see `regular`.
        UnicodeDecodeError: it is not UTF-8.
    """
    return regular(path, MOST_TEXT).read_text(encoding="utf-8")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; on success its file is synced and renamed to `path`.

    On any exception the temporary file is removed and `path` stays as it was. It has the file name of `path`, since
    writers such as Keras choose the format by the suffix. It lies in a hidden folder beside `path`, so that no search
    for results finds it. A system error without a file name, such as one of a full disk, gets the name of `path`.
    """
    path = Path(path)
    hidden = f".{path.name[:_MOST_HIDDEN]}.{os.getpid()}@{socket.gethostname()}."
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        with tempfile.TemporaryDirectory(prefix=hidden, dir=path.parent) as folder:
            temporary = Path(folder, path.name)
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
    except OSError as fault:
        if fault.errno is None or not (fault.filename is None or hidden in str(fault.filename)):
            raise
        raise OSError(fault.errno, fault.strerror, str(path)) from fault  # not the temporary one, which is gone


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` atomically, in UTF-8; lone surrogates are written as Python escapes."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Writes `content` atomically as indented JSON, with keys in their given order.

    Raises:
        ValueError: `content` has a NaN or an infinity, which JSON does not allow.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        Error: the file is missing, is no regular file, or does not hold a JSON object of valid Unicode.
    """
    try:
        content = json.loads(read_text(Path(path)))
        json.dumps(content, ensure_ascii=False).encode()  # a lone surrogate could be read, but never be written
    except (OSError, ValueError, RecursionError) as fault:  # RecursionError: nested too deeply
        reason = one_line(getattr(fault, "strerror", None) or fault)
        raise Error(f"{path}: not readable as JSON ({reason}); run `dvc repro` to write it anew") from fault
    if not isinstance(content, dict):
        raise Error(
            f"{path}: expected a JSON object, received {type(content).__name__}; run `dvc repro` to write it anew"
        )
    return content


def change_json(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Reads a JSON object, changes it and writes it; other processes that do the same wait, so that no change is lost.

    Args:
        path: the file; it counts as empty if it does not exist.
        change: returns the new content. If that equals the old one, nothing is written.

    Raises:
        Error: see `read_json`.
    """
    with exclusive(path.parent):
        before = read_json(path) if path.exists() else {}
        if (after := change(before)) != before:
            write_json(path, after)


def read_arrays(path: Path, most: int | None = None) -> dict[str, np.ndarray]:
    """Reads the arrays of an .npz file, by name, in bounded memory, whatever its headers claim.

    Args:
        path: the file.
        most: largest size of all arrays in bytes; None: the size of the file, whose arrays are not compressed.

    Raises:
        Exception: the file is damaged; zipfile and NumPy then raise exceptions of many types.
    """
    with zipfile.ZipFile(regular(path)) as archive:
        members = archive.infolist()
        most = path.stat().st_size if most is None else most
        if (size := sum(member.file_size for member in members)) > most:
            raise ValueError(f"its members claim to hold {size} bytes, at most {most} are read")
        found = {}
        for member in members:
            with archive.open(member) as file:  # read() without a size would unpack whatever is there
                found[member.filename.removesuffix(".npy")] = _array(file.read(member.file_size))
        return found


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
    hidden = re.compile(rf"\.{re.escape(path.name[:_MOST_HIDDEN])}\.(\d+)@{re.escape(socket.gethostname())}\.\w+")
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
