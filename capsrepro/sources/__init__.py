"""Where each file comes from: fetched from the first mirror that serves it well, verified, unpacked.

`fetch` brings a source into its folder under `data/`; `data_sha256` says in one hash what lies there. The table of what
was published where is in `published`.
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

__all__ = ["LOCK", "NAMES", "Patience", "Web", "data_sha256", "fetch", "unpacked"]

NAMES = tuple(SOURCES)
LOCK = Path("results/released_sources.lock.json")  # committed: the hashes that nobody published
MOST_UNPACKED = 32 << 30  # bytes: seven CIFAR-10 checkpoints with Adam's slots are two 2^30

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
    """Makes `folder/name` hold the verified files of a source, and returns it; what is there and right is kept.

    Mirrors are asked in order: the folder that the environment variable CAPSREPRO_DATA names, then those of the table,
    unless CAPSREPRO_OFFLINE is set. One that is unreachable, slow, truncated or wrong gives way to the next.

    Args:
        name: one of `NAMES`.
        folder: where the data sets lie. `folder/.fetch` is for what is under way.
        lock: where hashes that nobody published are recorded at the first fetch.
        web: the downloader, shared between calls so that a dead host is waited for once.
        say: called with a line on what was done.
        table: the sources.

    Raises:
        Error: no such source, every mirror failed, the disk is full, or another process fetches the same.
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
    """The folder with all that is in a source's one archive, which is verified first; unpacked where it is not yet.

    Returns:
        `folder/name/unpacked/<sha256 of the archive>`, so that another archive's files are never taken for this one's.

    Raises:
        Error: no such source, the archive is missing or not the recorded one, or it holds what must not be unpacked.
    """
    source = _find(name, table)
    archive = folder / name / source.files[0].name
    with files.locked(folder / ".fetch" / name, f"unpacking {name}"):
        record = _verified(source, name, folder, lock)
        place = folder / name / "unpacked" / str(record.sha256(source.files[0]))
        if not place.is_dir():
            if place.parent.is_dir():  # of another archive, or what a killed process left
                shutil.rmtree(place.parent)
            try:
                archives.unpack_all(archive, place, MOST_UNPACKED)
            except ContentError as fault:
                remedy = f"delete it and its sha256 in {record.path}, and fetch it from who made it"
                raise Error(f"{archive}: not unpacked ({fault}); {remedy}") from fault
    return place


def data_sha256(
    name: str, folder: Path = Path("data"), *, lock: Path = LOCK, table: Mapping[str, Source] = SOURCES
) -> str:
    """One hash over the names and hashes of a source's files, which are verified first; it goes into the provenance.

    Raises:
        Error: no such source, or a file is missing or not the published one.
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
