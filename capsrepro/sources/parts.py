"""The parts of a source: files as stored on disk, and packages as downloaded."""

import dataclasses
from collections.abc import Mapping


class MirrorError(Exception):
    """A mirror failed, for the reason in the message; the next mirror is tried."""


class ContentError(MirrorError):
    """A mirror was reached, but its content is not the published one or must not be unpacked."""


@dataclasses.dataclass(frozen=True)
class File:
    """A file with known size and hash.

    Attributes:
        name: path relative to the folder of the source.
        size: size in bytes; the largest allowed size if no sha256 was published.
        sha256: in hexadecimal; None if none was published.
    """

    name: str
    size: int
    sha256: str | None = None

    def check(self, size: int, sha256: str) -> None:
        """Checks size and hash of received content.

        Raises:
            ContentError: size or hash differ.
        """
        if size > self.size or (self.sha256 and size != self.size):
            raise ContentError(f"{self.name}: expected {self.size} bytes, received {size}")
        if self.sha256 not in (None, sha256):
            raise ContentError(f"{self.name}: wrong sha256, expected {self.sha256}, received {sha256}")


@dataclasses.dataclass(frozen=True)
class Package(File):
    """A file as served by a mirror: an archive, a gzipped file, or the file itself.

    Attributes:
        holds: maps the name of each unpacked file to its member in the archive, "" in a .gz. If empty, the package is
            stored as it is.
    """

    holds: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that it provides."""
        return tuple(self.holds) or (self.name,)


def as_package(file: File) -> Package:
    """The package that consists of the file itself, neither packed nor compressed."""
    return Package(file.name, file.size, file.sha256)
