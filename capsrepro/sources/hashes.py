"""Checks files on disk against published hashes, or against recorded ones if none was published."""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.sources.parts import File
from capsrepro.sources.published import Source


class Hashes:
    """The hashes of one source's files: published ones, and ones recorded in a JSON file (source -> file -> sha256)."""

    def __init__(self, source: Source, place: Path, lock: Path) -> None:
        """Takes a source, its folder, and the committed file that records hashes of unpublished sources."""
        self.source, self.place = source, place
        self.path = lock if source.committed else place / "sha256.json"
        self._recorded = self._read().get(place.name, {})

    def sha256(self, file: File) -> str | None:
        """The expected hash of a file; None before the first fetch of a file without a published hash."""
        return file.sha256 or self._recorded.get(file.name)

    def add(self, hashes: Mapping[str, str]) -> None:
        """Records the hashes of files that have no published one."""
        new = {file.name: hashes[file.name] for file in self.source.files if file.name in hashes and not file.sha256}
        if new.items() - self._recorded.items():
            self._recorded = self._recorded | new
            files.change_json(self.path, self._with_new)  # the file also records other sources

    def faults(self) -> dict[str, str]:
        """The faults of files on disk, by name; empty if all are present and correct."""
        found = ((file.name, self._fault(file)) for file in self.source.files)
        return {name: fault for name, fault in found if fault}

    def _fault(self, file: File) -> str:
        path, expected = self.place / file.name, self.sha256(file)
        if not path.is_file():
            return "missing"
        if expected is None:
            return f"{self.path} has no sha256 for it"
        received = files.sha256(path)
        return "" if received == expected else f"wrong sha256, expected {expected}, received {received}"

    def _with_new(self, before: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        recorded = self._checked(before)
        return dict(sorted((recorded | {self.place.name: recorded.get(self.place.name, {}) | self._recorded}).items()))

    def _read(self) -> dict[str, dict[str, str]]:
        return self._checked(files.read_json(self.path) if self.path.exists() else {})

    def _checked(self, content: dict[str, Any]) -> dict[str, dict[str, str]]:
        for name, hashes in content.items():
            if not isinstance(hashes, dict) or not all(isinstance(sha256, str) for sha256 in hashes.values()):
                message = f"expected a sha256 by the name of each file, received {reprlib.repr(hashes)}"
                raise Error(f"{self.path}, {name!r}: {message}; restore it, or delete it and fetch again")
        return content
