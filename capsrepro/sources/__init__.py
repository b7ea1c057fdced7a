"""Fetches, verifies and unpacks data sets and the released code's archives.

`fetch` puts a source into its folder under `data/`, and `data_sha256` hashes its files. The table of sources and
mirrors is in `published`.
"""

import errno
import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.sources import archives
from capsrepro.sources.fetching import Fetch
from capsrepro.sources.hashes import Hashes
from capsrepro.sources.parts import ContentError
from capsrepro.sources.published import SOURCES, Source
from capsrepro.sources.web import Patience, Web

__all__ = ["LOCK", "NAMES", "Patience", "Web", "data_sha256", "fetch", "is_fetched", "unpacked"]

NAMES = tuple(SOURCES)
LOCK = Path("results/released_sources.lock.json")  # committed; hashes of files without a published hash

log = logging.getLogger(__name__)


def fetch(
    name: str,
    folder: Path = Path("data"),
    *,
    lock: Path = LOCK,
    web: Web | None = None,
    say: Callable[[str], None] = log.info,
    table: Mapping[str, Source] = SOURCES,
) -> Path:
    """Fetches the missing files of a source into `folder/name` and verifies them; correct files are kept.

    The folder in the environment variable CAPSREPRO_DATA is searched first. Then the mirrors of the table are tried in
    order, unless CAPSREPRO_OFFLINE is set. If a mirror is unreachable, slow, truncated or wrong, the next one is tried.

    Args:
        name: one of `NAMES`.
        folder: the folder of the data sets. `folder/.fetch` holds unfinished downloads.
        lock: the file that records hashes at the first fetch if none was published.
        web: the downloader; sharing it between calls avoids waiting for a dead host again.
        say: called with a one-line message for each package, or once if nothing is missing.
        table: the sources by name.

    Returns:
        `folder/name`.

    Raises:
        Error: the source is unknown, every mirror failed, the disk is full, or another process fetches the source.
    """
    source = _find(name, table)
    place, work = folder / name, folder / ".fetch" / name
    try:
        with files.locked(work, f"fetching {name}"):
            record = Hashes(source, place, lock)
            if missing := set(record.faults()):
                Fetch(source, place, work, record, web or Web(), say).bring(missing)
            else:
                say(f"{place}: {len(source.files)} of {len(source.files)} files are there and right, nothing to fetch")
    except OSError as fault:
        if fault.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise Error(f"{place}: {fault.strerror}; make room, then `python -m experiments.fetch {name}`") from fault
    return place


def unpacked(
    name: str, folder: Path = Path("data"), *, lock: Path = LOCK, table: Mapping[str, Source] = SOURCES
) -> Path:
    """Verifies the single archive of a source, and unpacks it unless that has been done.

    Returns:
        `folder/name/unpacked/<sha256 of the archive>`; the hash keeps files of different archives apart.

    Raises:
        Error: the source is unknown, the archive is missing or not the recorded one, or it must not be unpacked.
    """
    source = _find(name, table)
    archive = folder / name / source.files[0].name
    with files.locked(folder / ".fetch" / name, f"unpacking {name}"):
        record = _verified(source, name, folder, lock)
        place = folder / name / "unpacked" / str(record.sha256(source.files[0]))
        if not place.is_dir():
            if place.parent.is_dir():  # from another archive, or incomplete after a killed process
                shutil.rmtree(place.parent)
            try:
                archives.unpack_all(archive, place, archives.MOST_UNPACKED)
            except ContentError as fault:
                remedy = f"delete it and its sha256 in {record.path}, and fetch it from who made it"
                raise Error(f"{archive}: not unpacked ({fault}); {remedy}") from fault
    return place


def is_fetched(name: str, folder: Path = Path("data"), *, table: Mapping[str, Source] = SOURCES) -> bool:
    """Whether all files of a source are in `folder/name`; whether they are right is not checked.

    The folder alone says nothing: a fetch that was stopped leaves part of the files, and `fetch --note` a note.

    Raises:
        Error: the source is unknown.
    """
    return all((folder / name / file.name).is_file() for file in _find(name, table).files)


def data_sha256(
    name: str, folder: Path = Path("data"), *, lock: Path = LOCK, table: Mapping[str, Source] = SOURCES
) -> str:
    """Verifies a source and returns one hash over the names and hashes of its files, for the provenance.

    Raises:
        Error: the source is unknown, or a file is missing or not the published one.
    """
    source = _find(name, table)
    record = _verified(source, name, folder, lock)
    lines = "".join(f"{record.sha256(file)}  {file.name}\n" for file in source.files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _verified(source: Source, name: str, folder: Path, lock: Path) -> Hashes:
    record = Hashes(source, folder / name, lock)
    for file, fault in record.faults().items():
        raise Error(f"{folder / name / file}: {fault}; run `python -m experiments.fetch {name}`")
    return record


def _find(name: str, table: Mapping[str, Source]) -> Source:
    if name not in table:
        raise Error(f"unknown source {name!r}; choose from {', '.join(table)}")
    return table[name]
