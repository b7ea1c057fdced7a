"""CIFAR-10 from PNGs: the binary files are rebuilt byte for byte, and a wrong or damaged PNG is named."""

import dataclasses
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capsrepro import sources
from capsrepro.core.errors import Error
from capsrepro.data import cifar10
from capsrepro.sources import png
from capsrepro.sources.parts import ContentError, File, MirrorError
from capsrepro.sources.png import PngArchive
from capsrepro.sources.published import SOURCES, Source
from tests.support.archives import tarred
from tests.support.digits import philox

COUNTS = {"one": 3, "two": 2, "test": 4}
LABELS = {"one": [9, 0, 4], "two": [1, 1], "test": [3, 8, 8, 0]}
PHOTOGRAPHS = {
    name: philox(number).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    for number, (name, count) in enumerate(COUNTS.items())
}


def as_png(images: np.ndarray, mode: str = "RGB") -> bytes:
    """A row of pixels for each photograph."""
    content = io.BytesIO()
    Image.fromarray(images.reshape(len(images), 1024, 3)).convert(mode).save(content, "PNG")
    return content.getvalue()


def binary(name: str) -> bytes:
    """The binary file, photograph by photograph and plane by plane."""
    records = [
        bytes([label]) + b"".join(image[..., colour].tobytes() for colour in range(3))
        for label, image in zip(LABELS[name], PHOTOGRAPHS[name], strict=True)
    ]
    return b"".join(records)


MEMBERS = {f"{name}.png": as_png(images) for name, images in PHOTOGRAPHS.items()} | {
    "train.json": json.dumps(LABELS["one"] + LABELS["two"]).encode(),
    "test.json": json.dumps(LABELS["test"]).encode(),
}
FILES = tuple(File(f"{name}.bin", len(binary(name)), hashlib.sha256(binary(name)).hexdigest()) for name in PHOTOGRAPHS)


def package(archive: bytes) -> PngArchive:
    return PngArchive(
        "toy.tgz",
        len(archive),
        hashlib.sha256(archive).hexdigest(),
        {f"{name}.bin": f"{name}.png" for name in PHOTOGRAPHS},
        {"one.png": "train.json", "two.png": "train.json", "test.png": "test.json"},
    )


def unpack(folder: Path, **members: bytes) -> dict[str, str]:
    """Unpacks the archive with other members, named with `_` for `.`, into folder/place."""
    archive = tarred(MEMBERS | {name.replace("_", "."): content for name, content in members.items()})
    (folder / "toy.tgz").write_bytes(archive)
    return png.unpack(folder / "toy.tgz", package(archive), FILES, folder / "place")


def test_binary_files_are_rebuilt_byte_for_byte(tmp_path: Path) -> None:
    assert unpack(tmp_path) == {file.name: file.sha256 for file in FILES}
    assert {path.stem: path.read_bytes() for path in (tmp_path / "place").iterdir()} == {
        name: binary(name) for name in PHOTOGRAPHS
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["place", "toy.tgz"]
    images, labels = cifar10.read_binary(tmp_path / "place" / "two.bin", COUNTS["two"])
    assert (labels.tolist(), np.array_equal(images, PHOTOGRAPHS["two"])) == (LABELS["two"], True)


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (as_png(PHOTOGRAPHS["two"][:1]), "expected 1024 x 2 pixels in RGB, received 1024 x 1 in RGB"),
        (as_png(PHOTOGRAPHS["two"], "L"), "expected 1024 x 2 pixels in RGB, received 1024 x 2 in L"),
        (as_png(PHOTOGRAPHS["two"], "RGBA"), "expected 1024 x 2 pixels in RGB, received 1024 x 2 in RGBA"),
        (as_png(PHOTOGRAPHS["two"][::-1]), r"does not give the published file \(two\.bin: wrong sha256"),
        (MEMBERS["two.png"][:-40], "damaged"),
        (b"", "damaged"),
        (b"GIF89a" + bytes(100), "damaged"),
    ],
)
def test_a_wrong_png_is_named_and_leaves_no_file(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ContentError, match=rf"^two\.png: {message}"):
        unpack(tmp_path, two_png=content)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["place", "toy.tgz"]
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["one.bin"]  # whole and right


@pytest.mark.parametrize("place", [0, 20, 30, 50, 500, 5000, -20, -5])
def test_a_flipped_bit_anywhere_is_an_error_that_names_the_png(tmp_path: Path, place: int) -> None:
    with pytest.raises(ContentError, match=r"^test\.png: "):
        unpack(tmp_path, test_png=flipped(MEMBERS["test.png"], place))
    assert not (tmp_path / "place" / "test.bin").exists()


@pytest.mark.parametrize(
    "content", [b"[9, 0, 4, 1]", b"[9, 0, 4, 1, 10]", b"[9, 0, 4, 1, true]", b'{"9": 0}', b"[9, 0", b"["]
)
def test_wrong_labels_are_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ContentError, match=r"^toy\.tgz: train\.json"):
        unpack(tmp_path, train_json=content)
    assert not (tmp_path / "place").exists()


def test_a_fetch_takes_the_archive_from_a_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own hash may be another, since those of the files are known."""
    monkeypatch.setenv("CAPSREPRO_DATA", str(tmp_path / "given"))
    archive = tarred(MEMBERS)
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "toy.tgz").write_bytes(archive)
    other = dataclasses.replace(package(archive), sha256="0" * 64)

    class Nowhere:
        packages, remote = (other,), True

        def download(self, *_: object) -> None:
            raise MirrorError("away")

    table = {"toy": Source(FILES, (Nowhere(),))}
    place = sources.fetch("toy", tmp_path / "data", table=table)
    assert sorted(path.name for path in place.iterdir()) == ["one.bin", "test.bin", "two.bin"]
    (place / "one.bin").unlink()
    (tmp_path / "given" / "toy.tgz").write_bytes(tarred(MEMBERS | {"one.png": b"no"}))
    with pytest.raises(Error, match=r"CAPSREPRO_DATA=.*: one\.png: damaged"):
        sources.fetch("toy", tmp_path / "data", table=table)
    assert sorted(path.name for path in place.iterdir()) == ["test.bin", "two.bin"]
    assert not list((tmp_path / "data" / ".fetch" / "toy").glob("png-*"))


def test_both_mirrors_of_cifar10_give_the_same_six_files() -> None:
    archive, pngs = (mirror.packages[0] for mirror in SOURCES["cifar10"].mirrors)
    assert [*archive.holds] == [*pngs.holds] == [file.name for file in SOURCES["cifar10"].files]
    assert [file.size for file in SOURCES["cifar10"].files] == [30_730_000] * 6
    assert all(file.sha256 for file in SOURCES["cifar10"].files)
    # The training labels are those of all five batches, in order.
    assert [*pngs.holds.values()] == [f"package/data_batch_{k}.png" for k in range(1, 6)] + ["package/test_batch.png"]
    assert pngs.labels == {name: name.replace(name[8:], "train_lables.json") for name in [*pngs.holds.values()][:5]} | {
        "package/test_batch.png": "package/test_lables.json"
    }
