"""Unpacks downloaded archives safely; nothing that an archive declares is trusted.

The headers of an archive are read through a stream that gives a bounded number of bytes for each member, since tarfile
itself reads names and extended headers of any length into memory.
"""

import contextlib
import errno
import gzip
import hashlib
import itertools
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from capsrepro.core import files
from capsrepro.core.text import one_line
from capsrepro.sources.parts import ContentError, File, Package

PIECE = 1 << 20
EXTRA_BYTES = 64 << 20  # that an archive may hold beyond its known files
MOST_UNPACKED = 32 << 30  # of an archive with unknown members; seven CIFAR-10 checkpoints with Adam's slots take 2 GiB
MOST_MEMBERS = 10_000  # the published archives have a few dozen
MOST_HEADERS = 64 << 10  # bytes of all headers of one member of a tar archive
MOST_NAME, MOST_FOLDERS = 1000, 32  # characters of a member's name, and the folders that it lies in
# Exceptions that a damaged archive causes. ValueError: a name with a zero byte, or a malformed number; RuntimeError: an
# encrypted member, or a compression that is not known.
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
    struct.error,
)
# System errors for impossible names, such as a file below another file.
NAME_ERRORS = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}

Members = Generator[tuple[str, IO[bytes]], None, None]


def unpack(archive: Path, package: Package, published: Iterable[File], place: Path) -> dict[str, str]:
    """Unpacks the files of `package` into the folder `place`, each atomically.

    Args:
        archive: the package on disk; the suffix of `package.name` tells tar, zip and single gzipped files apart.
        package: maps members of the archive to files.
        published: the files of the source, each with its hash or its largest size.
        place: the folder to unpack into.

    Returns:
        The sha256 of each file by its name.

    Raises:
        ContentError: the archive is damaged, a file is not the published one, or a member is a link, a device, too
            large or leads out of the folder.
    """
    known = {file.name: file for file in published}
    wanted = {member: known[name] for name, member in package.holds.items()} or {"": known[package.name]}
    found = {}
    try:
        with contextlib.closing(_members(archive, package, wanted)) as members:
            for name, stream in members:
                if name in wanted:
                    found[wanted[name].name] = _write(stream, wanted[name], place)
    except DAMAGE as fault:
        raise ContentError(f"{package.name}: damaged ({one_line(fault)})") from fault
    except OSError as fault:
        if fault.errno != errno.EINVAL:  # zipfile seeks to wherever a false header points
            raise
        raise ContentError(f"{package.name}: damaged ({fault.strerror})") from fault
    if lacking := set(package.files) - set(found):
        raise ContentError(f"{package.name}: does not hold {', '.join(sorted(lacking))}")
    return found


def unpack_all(archive: Path, place: Path, most: int) -> None:
    """Unpacks every regular file of a .tar.gz into the folder `place`, which is created atomically.

    Args:
        archive: verified as far as possible; hashes of its members were not published.
        place: the folder to create; it must not exist.
        most: largest total size of the members in bytes.

    Raises:
        ContentError: the archive is damaged, or a member is a link, a device, too large or leads out of the folder.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as folder:
        whole = Path(folder, place.name)
        whole.mkdir()
        try:
            with contextlib.closing(_tar(archive, most)) as members:
                for name, stream in members:
                    _store(stream, File(str(PurePosixPath(name)), most), whole, archive)
        except DAMAGE as fault:
            raise ContentError(f"{archive.name}: damaged ({one_line(fault)})") from fault
        whole.rename(place)


def check_all(archive: Path, most: int) -> None:
    """Reads a whole .tar.gz, so that half of one, or a web page in its place, is found before its hash is recorded.

    Args:
        archive: of unknown content.
        most: largest total size of the members in bytes.

    Raises:
        ContentError: see `unpack_all`.
    """
    try:
        with contextlib.closing(_tar(archive, most)) as members:
            for _, stream in members:
                while stream.read(PIECE):
                    pass
    except DAMAGE as fault:
        raise ContentError(f"{archive.name}: not a whole tar archive ({one_line(fault)})") from fault


def _members(archive: Path, package: Package, wanted: Mapping[str, File]) -> Members:
    """Yields name and stream of each regular member; read the stream before taking the next member."""
    bytes_left = EXTRA_BYTES + sum(file.size for file in wanted.values())
    if not package.holds:
        with archive.open("rb") as stream:
            yield "", stream
    elif package.name.endswith((".tgz", ".tar.gz")):
        yield from _tar(archive, bytes_left)
    elif package.name.endswith(".zip"):
        yield from _zip(archive, bytes_left)
    else:
        with gzip.open(archive) as unzipped:
            yield "", unzipped  # type: ignore[misc]  # a GzipFile reads like any file


def _tar(archive: Path, bytes_left: int) -> Members:
    with gzip.open(archive) as unzipped:
        metered = _Metered(unzipped)
        stored: set[PurePosixPath] = set()
        folders: set[PurePosixPath] = set()
        with tarfile.open(fileobj=metered, mode="r:") as tar:  # type: ignore[call-overload]  # it has all that is read
            for number in itertools.count(1):
                metered.left = MOST_HEADERS
                if (member := tar.next()) is None:
                    break
                bytes_left = _admit(archive, member.name, member.size, bytes_left, number)
                if not (member.isreg() or member.isdir()) or member.issparse():
                    raise ContentError(f"{archive.name}: {one_line(member.name)} is a link or a device, or has holes")
                metered.left = member.size
                if stream := tar.extractfile(member):
                    _claim(archive, member.name, stored, folders)
                    yield member.name, stream
            if not stored:
                raise ContentError(f"{archive.name}: holds no file")
            # Reading to the end verifies gzip's checksum: tarfile takes a broken header for the end of the archive.
            rest = 0
            while piece := unzipped.read(PIECE):
                rest += len(piece)
                if rest >= EXTRA_BYTES:
                    raise ContentError(f"{archive.name}: damaged ({EXTRA_BYTES} bytes or more after its last member)")


class _Metered:
    """A stream of which at most `left` bytes are read; skipping costs nothing."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile) -> None:
        self.stream, self.left = stream, MOST_HEADERS

    def read(self, size: int = -1) -> bytes:
        """Reads up to `size` bytes; ValueError: more than are left."""
        if not 0 <= size <= self.left:
            raise ValueError(f"a header of more than {MOST_HEADERS} bytes")
        self.left -= size
        return self.stream.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As that of any stream."""
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        """As that of any stream."""
        return self.stream.tell()


def _zip(archive: Path, bytes_left: int) -> Members:
    with zipfile.ZipFile(archive) as packed:
        for number, member in enumerate(packed.infolist(), 1):
            bytes_left = _admit(archive, member.filename, member.file_size, bytes_left, number)
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ContentError(f"{archive.name}: {one_line(member.filename)} is a link or a device")
            with packed.open(member) as stream:
                yield member.filename, stream


def _admit(archive: Path, name: str, size: int, bytes_left: int, number: int) -> int:
    """Rejects a member that leads out of the folder or is too much in some way; returns the bytes left after it."""
    path, shown = PurePosixPath(name.replace("\\", "/")), one_line(name)
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise ContentError(f"{archive.name}: {shown!r} leads out of the folder")
    if len(name) > MOST_NAME or len(path.parts) > MOST_FOLDERS:
        raise ContentError(f"{archive.name}: {shown} has {len(name)} characters in {len(path.parts)} parts, too many")
    if number > MOST_MEMBERS:
        raise ContentError(f"{archive.name}: has more than {MOST_MEMBERS} members")
    if not 0 <= size <= bytes_left:
        raise ContentError(f"{archive.name}: {shown} declares {size} bytes, where {bytes_left} are left for it")
    return bytes_left - size


def _claim(archive: Path, name: str, stored: set[PurePosixPath], folders: set[PurePosixPath]) -> None:
    """Rejects a member that cannot be a file, because an earlier one has its place as a folder, or is above it."""
    path = PurePosixPath(name)
    if not path.parts or path in folders or stored.intersection(path.parents):
        raise ContentError(f"{archive.name}: {one_line(name)} cannot be a file, for another member is in its way")
    stored.add(path)
    folders.update(path.parents)


def _store(stream: IO[bytes], file: File, place: Path, archive: Path) -> None:
    """Writes a file of an archive with unknown content, whose member names may contradict each other."""
    try:
        output = place / file.name
        output.parent.mkdir(parents=True, exist_ok=True)
        _copy(stream, file, output)
    except OSError as fault:
        if fault.errno not in NAME_ERRORS:
            raise
        raise ContentError(f"{archive.name}: {one_line(file.name)} cannot be a file ({fault.strerror})") from fault


def _write(stream: IO[bytes], file: File, place: Path) -> str:
    """Writes a file atomically after checking its hash, see `_copy`."""
    with files.replacing(place / file.name) as temporary:
        return _copy(stream, file, temporary)


def _copy(stream: IO[bytes], file: File, output: Path) -> str:
    """Writes and checks a file, and stops at its largest size, whatever was declared; returns its hash."""
    digest, size = hashlib.sha256(), 0
    with output.open("wb") as opened:
        while piece := stream.read(PIECE):
            size += len(piece)
            if size > file.size:
                raise ContentError(f"{one_line(file.name)}: unpacks to more than {file.size} bytes")
            digest.update(piece)
            opened.write(piece)
        if size:
            opened.flush()
            os.fsync(opened.fileno())
    file.check(size, digest.hexdigest())
    return digest.hexdigest()
