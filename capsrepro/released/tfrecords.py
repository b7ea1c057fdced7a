"""TensorFlow's record files: finding, indexing, random access and writing.

A file is a sequence of records, each framed as

    length      uint64, little-endian
    checksum    uint32, of the eight bytes before
    data        `length` bytes
    checksum    uint32, of the data

A checksum is the CRC-32C, rotated right by 15 bits, plus 0xa282ead8 (tensorflow/core/lib/hash/crc32c.h).
"""

import contextlib
import hashlib
import logging
import os
import re
import struct
import weakref
from array import array
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import google_crc32c
import numpy as np

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.text import one_line

MOST_SHARDS = 99_999  # a shard's name has its number in five digits

log = logging.getLogger(__name__)

_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
_HEADER = _LENGTH.size + _CHECKSUM.size
_FOOTER = _CHECKSUM.size
_REMEDY = "fetch it again or write it anew"


def named(spec: str | Path) -> list[Path]:
    """The files that `spec` names, existing or not: `path`, or for `path@N` the N shards `path-%05d-of-%05d`.

    Raises:
        Error: N is zero.
    """
    return _shards(*_split(spec))


def find(spec: str | Path) -> list[Path]:
    """The files that `spec` names, after checking that all exist.

    The released code's README writes 100 shards, but its reader expects `@10`. If none of the N shards exists, but
    exactly one complete set of another size does, that set is used and a warning is logged.

    Raises:
        Error: files are missing.
    """
    path, count = _split(spec)
    wanted = _shards(path, count)
    missing = [file for file in wanted if not file.is_file()]
    if not missing:
        return wanted
    if count and len(missing) == count:
        others = _complete_sets(path)
        if len(others) == 1:
            log.warning("%s: found %d shards instead of %d; all of them are read", path, len(others[0]), count)
            return others[0]
        if others:
            raise Error(f"{spec}: found sets of {[len(other) for other in others]} shards; ask for one of them after @")
    names = ", ".join(map(str, missing[:3])) + (f" and {len(missing) - 3} more" * (len(missing) > 3))
    raise Error(f"{spec}: missing {names}; write them with `python -m experiments.mnist_shift` or correct the path")


class RecordFiles:
    """The records of several files, numbered from zero across files.

    Opening reads the framing only, and keeps 8 bytes per record and one open file per shard. Records are read from disk
    on demand, so that files may be larger than memory. If a file is replaced meanwhile, its old content is still read.
    A file that is changed in place fails its checksums.
    """

    def __init__(self, paths: list[Path]) -> None:
        """Scans `paths`.

        Raises:
            Error: a file is not readable, a length fails its checksum, or a file ends within a record.
        """
        digest = hashlib.sha256()
        self.paths = paths
        self.handles: list[int] = []
        self.offsets: list[np.ndarray] = []
        for path in paths:
            try:
                self.handles.append(os.open(path, os.O_RDONLY))
                weakref.finalize(self, os.close, self.handles[-1])
                self.offsets.append(_scan(path, self.handles[-1], digest))
            except OSError as fault:
                raise Error(f"{path}: not readable ({fault.strerror}); {_REMEDY}") from fault
        self.ends = np.cumsum([len(offsets) - 1 for offsets in self.offsets])  # (files,)  cumulative counts
        self.sha256: str = digest.hexdigest()  # of all lengths and checksums, which identify the data

    def __len__(self) -> int:
        return int(self.ends[-1])

    def where(self, number: int) -> str:
        """The description of a record in errors: its file and its number there, counted from zero."""
        file, place = self._place(number)
        return f"{self.paths[file]}: record {place}"

    def read(self, number: int) -> bytes:
        """Reads the data of a record.

        Raises:
            Error: the data fails its checksum, or the file was truncated meanwhile.
        """
        file, place = self._place(number)
        start, end = self.offsets[file][place : place + 2]
        content = os.pread(self.handles[file], int(end - start - _HEADER), int(start + _HEADER))
        data, footer = content[:-_FOOTER], content[-_FOOTER:]
        if len(content) != end - start - _HEADER or _checksum(data) != footer:
            raise Error(f"{self.where(number)}: its data fails its checksum; {_REMEDY}")
        return data

    def _place(self, number: int) -> tuple[int, int]:
        if not 0 <= number < len(self):
            raise IndexError(f"record {number} of {len(self)}")
        file = int(np.searchsorted(self.ends, number, side="right"))
        return file, number - (int(self.ends[file - 1]) if file else 0)


def write(paths: list[Path], records: Iterable[tuple[int, bytes]]) -> int:
    """Writes records to files, either all of them or none.

    Args:
        paths: the files; existing ones are replaced at the end.
        records: pairs of the index of a file and the data of a record.

    Returns:
        The number of records written.
    """
    count = 0
    with contextlib.ExitStack() as renamed_last, contextlib.ExitStack() as opened:
        outs = [opened.enter_context(open(renamed_last.enter_context(files.replacing(path)), "wb")) for path in paths]
        for shard, data in records:
            length = _LENGTH.pack(len(data))
            outs[shard].write(b"".join((length, _checksum(length), data, _checksum(data))))
            count += 1
    return count


def _split(spec: str | Path) -> tuple[Path, int | None]:
    match = re.fullmatch(r"(.+)@([0-9]+)", str(spec))
    if match is None:
        return Path(spec), None
    count = int(match[2]) if len(match[2]) < 10 else MOST_SHARDS + 1  # Python converts at most 4,300 digits
    if not 1 <= count <= MOST_SHARDS:
        raise Error(f"{one_line(spec)}: expected 1 to {MOST_SHARDS} shards after @, received {one_line(match[2])}")
    return Path(match[1]), count


def _shards(path: Path, count: int | None) -> list[Path]:
    return [path] if count is None else [Path(f"{path}-{shard:05d}-of-{count:05d}") for shard in range(count)]


def _complete_sets(path: Path) -> list[list[Path]]:
    """The complete sets of shards of `path`."""
    found = defaultdict(set)
    for file in path.parent.iterdir() if path.parent.is_dir() else ():
        if match := re.fullmatch(re.escape(path.name) + r"-([0-9]{5})-of-([0-9]{5})", file.name):
            found[int(match[2])].add(int(match[1]))
    return [_shards(path, count) for count in sorted(found) if count and found[count] == set(range(count))]


def _scan(path: Path, handle: int, digest: "hashlib._Hash") -> np.ndarray:
    """The offsets of the records of a file, and the end of the last one: int64 `(records + 1,)`."""
    offsets = array("q", [0])
    size = os.fstat(handle).st_size
    checked = b""  # the last header with a correct checksum; most records of a file have the same length
    header = os.pread(handle, _HEADER, 0)
    while header:
        digest.update(header)
        start, record = offsets[-1], len(offsets) - 1
        if len(header) == _HEADER and header != checked and _checksum(header[: _LENGTH.size]) != header[_LENGTH.size :]:
            raise Error(f"{path}: record {record}: its length fails its checksum; {_REMEDY}")
        if len(header) < _HEADER or (end := start + _HEADER + _LENGTH.unpack_from(header)[0] + _FOOTER) > size:
            raise Error(f"{path}: record {record}: the file ends within it; {_REMEDY}")
        checked = header
        offsets.append(end)
        following = os.pread(handle, _FOOTER + _HEADER, end - _FOOTER)  # footer, and header of the next record
        digest.update(following[:_FOOTER])
        header = following[_FOOTER:]
    return np.frombuffer(offsets, np.int64)


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return _CHECKSUM.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
