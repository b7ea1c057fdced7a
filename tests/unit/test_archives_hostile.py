"""Archives that are made to exhaust memory, time or disk: each is refused in one short line, and leaves nothing."""

import gzip
import io
import json
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from capsrepro import sources
from capsrepro.core.errors import Error
from capsrepro.sources import archives
from capsrepro.sources.mirrors import Http
from capsrepro.sources.parts import ContentError, File, Package
from capsrepro.sources.published import Source

LONG = 3 << 20
MOST_MEMORY = 8 << 20
SPARSE_MAP = b"1\n0\n512\n".ljust(512, b"\0") + b"x" * 512  # of the format 1.0 of GNU's sparse files: one piece


def member(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content), kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def packed(path: Path, *members: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.PAX_FORMAT) -> Path:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=kind) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    path.write_bytes(gzip.compress(plain.getvalue(), 1))
    return path


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "a GNU name of megabytes": lambda path: packed(path, member("n" * LONG, b"x"), kind=tarfile.GNU_FORMAT),
    "a GNU link of megabytes": lambda path: packed(
        path, member("n", kind=tarfile.SYMTYPE, linkname="l" * LONG), kind=tarfile.GNU_FORMAT
    ),
    "a name of megabytes in extended headers": lambda path: packed(path, member("n" * LONG, b"x")),
    "extended headers of megabytes": lambda path: packed(path, member("n", b"x", pax_headers={"comment": "c" * LONG})),
    "many long names": lambda path: packed(
        path, *[member("n" * 10_000 + str(number)) for number in range(5)], kind=tarfile.GNU_FORMAT
    ),
    "too many members": lambda path: packed(path, *[member(f"n{number}") for number in range(30)]),
    "folders a thousand deep": lambda path: packed(path, member("a/" * 1500 + "b", b"x")),
    "a sparse file of the old format": lambda path: packed(
        path, member("n", bytes(512), tarfile.GNUTYPE_SPARSE), kind=tarfile.GNU_FORMAT
    ),
    "a sparse file of format 0.1": lambda path: packed(
        path, member("n", b"x" * 512, pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "500000"})
    ),
    "a sparse file of format 1.0": lambda path: packed(
        path,
        member(
            "n", SPARSE_MAP,
            pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "500000"},
        ),
    ),
    "a sparse map without end": lambda path: packed(
        path,
        member(
            "n", b"9999999\n" + b"0\n" * 200_000,
            pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "500000"},
        ),
    ),
    "a size of exabytes": lambda path: packed(path, member("n", b"x", pax_headers={"size": "9" * 19})),
    "a file below a file": lambda path: packed(path, member("a", b"x"), member("a/b", b"x")),
    "a file in place of a folder": lambda path: packed(path, member("a/b", b"x"), member("a", b"x")),
    "a file without a name": lambda path: packed(path, member(".", b"x")),
    "no member": packed,
    "only a folder": lambda path: packed(path, member("a", kind=tarfile.DIRTYPE)),
    "escapes in a name": lambda path: packed(path, member("../\x1b[31m\n" + "e" * 500, b"x")),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archive_is_refused_in_bounded_memory(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 20)
    path = HOSTILE[what](tmp_path / "x.tar.gz")
    tracemalloc.start()
    try:
        with pytest.raises(ContentError) as refused:
            archives.unpack_all(path, tmp_path / "place", 10**6)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(refused.value)
    assert message.startswith("x.tar.gz: ")
    assert len(message) < 400
    assert message.isprintable()
    assert peak < MOST_MEMORY
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.tar.gz"]
    with pytest.raises(ContentError):
        archives.check_all(path, 10**6)


def test_many_members_are_unpacked_without_looking_at_all_of_a_folder_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "x.tar.gz", *[member(f"n{number}") for number in range(300)])
    looked: list[Path] = []
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: looked.append(self) or listed(self))
    archives.unpack_all(path, tmp_path / "place", 10**6)
    assert len(looked) < 3
    assert len(list(listed(tmp_path / "place"))) == 300


def test_an_encrypted_member_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside", b"secret")
    content = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + flags] |= 1  # says that the member is encrypted
    path.write_bytes(content)
    with pytest.raises(ContentError, match=r"^x\.zip: damaged \([^\n]*encrypted[^\n]*\)$"):
        archives.unpack(path, Package("x.zip", 10**6, None, {"f": "inside"}), [File("f", 100)], tmp_path / "place")


WHOLE = [member("checkpoint/model", bytes(range(256)) * 400), member("more", b"text" * 1000)]
SOURCE = Source((Package("x.tar.gz", 10**6),), (Http("http://127.0.0.1:9/", (Package("x.tar.gz", 10**6),)),), True)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_part_of_an_archive_without_a_published_hash_is_not_recorded(
    share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It used to be accepted, and its hash recorded as that of the archive."""
    (tmp_path / "given").mkdir()
    given, lock = tmp_path / "given" / "x.tar.gz", tmp_path / "lock.json"
    content = packed(given, *WHOLE).read_bytes()
    given.write_bytes(content[: int(share * len(content))])
    monkeypatch.setenv("CAPSREPRO_DATA", str(tmp_path / "given"))
    monkeypatch.setenv("CAPSREPRO_OFFLINE", "1")
    with pytest.raises(Error, match=r"x\.tar\.gz: (not a whole tar archive|damaged)") as refused:
        sources.fetch("toy", tmp_path / "data", lock=lock, table={"toy": SOURCE})
    assert "\n" not in str(refused.value)
    assert not lock.exists()
    assert not (tmp_path / "data" / "toy" / "x.tar.gz").exists()
    given.write_bytes(content)
    sources.fetch("toy", tmp_path / "data", lock=lock, table={"toy": SOURCE})
    assert list(json.loads(lock.read_text())["toy"]) == ["x.tar.gz"]
