"""What a source is made of: files as they must lie on disk, packages as they are transferred."""

import dataclasses
from collections.abc import Mapping


class MirrorError(Exception):
    """A mirror will not do, or what it gave is not what was published. The message says why; the next one is asked."""


class ContentError(MirrorError):
    """What a mirror gave is not what was published, or must not be unpacked: it was reached, so it is not away."""


@dataclasses.dataclass(frozen=True)
class File:
    """A file whose content is known.

    Attributes:
        name: its path inside the folder of the source.
        size: its bytes; where no sha256 was published, the most that it may have.
        sha256: in hexadecimal; None where nobody published one.
    """

    name: str
    size: int
    sha256: str | None = None

    def check(self, size: int, sha256: str) -> None:
        """Refuses a content of another size or hash.

        Raises:
            ContentError: it is not this file.
        """
        if size > self.size or (self.sha256 and size != self.size):
            raise ContentError(f"{self.name}: expected {self.size} bytes, received {size}")
        if self.sha256 not in (None, sha256):
            raise ContentError(f"{self.name}: wrong sha256, expected {self.sha256}, received {sha256}")


@dataclasses.dataclass(frozen=True)
class Package(File):
    """A file as a mirror serves it.

    Attributes:
        holds: name of each file that it unpacks to -> name of the member inside, "" for the one of a .gz.
            Empty: it is stored as it comes.
    """

    holds: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that come out of it."""
        return tuple(self.holds) or (self.name,)


def as_package(file: File) -> Package:
    """The file, served as it is."""
    return Package(file.name, file.size, file.sha256)
