"""A folder to carry files in: none larger than 16 MiB, with the SHA-256 of each, and names that any system takes."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic.dataclasses import dataclass

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.validation import CONFIG, Count, Text, validated
from . import places

CONTENTS = "contents.json"  # for each file its `Packed`, by its name; it names only what is whole
PART = 16 << 20  # bytes; a larger file lies in parts, NAME.part000 and so on


@dataclass(frozen=True, config=CONFIG)
class Packed:
    """A file."""

    sha256: Text  # of the whole
    parts: Count  # the files that it lies in


def contents(folder: Path) -> dict[str, Packed]:
    """The files in a folder by name; none if nothing was packed there. A malformed list is an Error."""
    if not (path := folder / CONTENTS).exists():
        return {}
    listed: dict[str, Packed] = validated(dict[str, Packed], files.read_json(path), str(path))
    for name in listed:
        places.training(name)  # raises an Error if it is no name of ours
    return listed


def pack(folder: Path, chosen: Mapping[str, Path], superseded: Iterable[str] = ()) -> None:
    """Adds files to a folder; those that are in it as they are stay, and `superseded` ones are removed."""
    now = {name: _describe(path) for name, path in chosen.items()}
    with files.exclusive(folder):
        before = contents(folder)
        gone = {name for name in {*superseded, *now} & before.keys() if before[name] != now.get(name)}
        listed = {name: packed for name, packed in before.items() if name not in gone}
        _list(folder, listed)  # while files are written, it lacks them
        for name in gone:
            for part in _parts(folder, name, before[name]):
                part.unlink(missing_ok=True)
        for name in now.keys() - listed.keys():
            with chosen[name].open("rb") as file:
                for part in _parts(folder, name, now[name]):
                    with files.replacing(part) as temporary:
                        temporary.write_bytes(file.read(PART))
        _list(folder, listed | now)


def verify(folder: Path, name: str, packed: Packed) -> None:
    """Raises an Error of one line if a packed file is damaged, or a part of it is missing."""
    digest = hashlib.sha256()
    for part in filter(Path.exists, _parts(folder, name, packed)):
        digest.update(files.regular(part, PART).read_bytes())
    if digest.hexdigest() != packed.sha256:
        raise Error(f"{folder / name}: damaged or incomplete, copy the folder again; nothing was unpacked")


def unpack(folder: Path, name: str, packed: Packed, path: Path) -> None:
    """Writes a packed file to `path`."""
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        for part in _parts(folder, name, packed):
            file.write(part.read_bytes())


def _list(folder: Path, listed: Mapping[str, Packed]) -> None:
    files.write_json(folder / CONTENTS, {name: vars(packed) for name, packed in sorted(listed.items())})


def _describe(path: Path) -> Packed:
    return Packed(files.sha256(path), max(1, -(-path.stat().st_size // PART)))


def _parts(folder: Path, name: str, packed: Packed) -> list[Path]:
    return [folder / (name if packed.parts == 1 else f"{name}.part{n:03d}") for n in range(packed.parts)]
