"""Unpacking archives that were made to do harm."""

import contextlib
import gzip
import hashlib
import io
import tarfile
import zipfile

import pytest

from capsrepro.sources import archives
from capsrepro.sources.parts import File, MirrorError, Package

CONTENT = b"digits" * 100
FILE = File("inside.bin", len(CONTENT))
MEMBER = "folder/inside.bin"


def unpack(path, place, *, file=FILE, member=MEMBER):
    package = Package(path.name, 10**6, None, {file.name: member})
    return archives.unpack(path, package, [file], place)


def tar(path, *members, content=CONTENT):
    """A tar.gz of the wanted member and, before it, of `members`: (name, type, fields)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, fields in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(b"\0" * member.size))
        good = tarfile.TarInfo(MEMBER)
        good.size = len(content)
        archive.addfile(good, io.BytesIO(content))
    return path


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {MEMBER: CONTENT, **members}.items():
            archive.writestr(name, content)
    return path


def gzipped(path, content=CONTENT):
    path.write_bytes(gzip.compress(content))
    return path


def watched(replacing, sizes):
    """`files.replacing` that notes how large the temporary file was in the end."""

    @contextlib.contextmanager
    def watching(path):
        with replacing(path) as temporary:
            try:
                yield temporary
            finally:
                sizes.append(temporary.stat().st_size)

    return watching


def refused(path, tmp_path, message, **settings):
    place = tmp_path / "deep" / "place"
    with pytest.raises(MirrorError, match=message):
        unpack(path, place, **settings)
    assert not [found for found in tmp_path.rglob("*") if found.is_file() and found != path]


def test_unpack_gives_the_file_and_its_hash(tmp_path):
    for number, path in enumerate((tar(tmp_path / "x.tar.gz"), tar(tmp_path / "x.tgz"), zipped(tmp_path / "x.zip"))):
        hashes = unpack(path, tmp_path / str(number))
        assert hashes == {"inside.bin": hashlib.sha256(CONTENT).hexdigest()}
        assert (tmp_path / str(number) / "inside.bin").read_bytes() == CONTENT
    unpack(gzipped(tmp_path / "x.gz"), tmp_path / "3", member="")
    assert (tmp_path / "3" / "inside.bin").read_bytes() == CONTENT


def test_unpack_stores_a_package_that_holds_nothing_as_it_is(tmp_path):
    path = tar(tmp_path / "x.tar.gz")
    package = Package("x.tar.gz", 10**6)
    archives.unpack(path, package, [package], tmp_path / "place")
    assert (tmp_path / "place" / "x.tar.gz").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "kind", "fields", "message"),
    [
        ("../evil", tarfile.REGTYPE, {}, "leads out of the folder"),
        ("folder/../../evil", tarfile.REGTYPE, {}, "leads out of the folder"),
        ("/tmp/evil", tarfile.REGTYPE, {}, "leads out of the folder"),
        ("C:\\evil", tarfile.REGTYPE, {}, "leads out of the folder"),
        ("..\\evil", tarfile.REGTYPE, {}, "leads out of the folder"),
        ("evil", tarfile.SYMTYPE, {"linkname": "/etc/passwd"}, "link or a device"),
        (MEMBER, tarfile.SYMTYPE, {"linkname": "/etc/passwd"}, "link or a device"),
        ("evil", tarfile.LNKTYPE, {"linkname": "../evil"}, "link or a device"),
        ("evil", tarfile.CHRTYPE, {"devmajor": 1, "devminor": 3}, "link or a device"),
        ("evil", tarfile.BLKTYPE, {"devmajor": 8}, "link or a device"),
        ("evil", tarfile.FIFOTYPE, {}, "link or a device"),
        ("evil", tarfile.REGTYPE, {"size": archives.ROOM + 10_000}, "declares"),
    ],
)
def test_unpack_refuses_a_tar_archive_with_a_hostile_member(tmp_path, name, kind, fields, message):
    refused(tar(tmp_path / "x.tar.gz", (name, kind, fields)), tmp_path, message)


def test_unpack_adds_up_what_members_declare(tmp_path):
    half = ("filler", tarfile.REGTYPE, {"size": archives.ROOM * 2 // 3})
    refused(tar(tmp_path / "x.tar.gz", half, half), tmp_path, "declares")


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_unpack_refuses_a_zip_archive_that_leads_out(tmp_path, name):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"evil")
        archive.writestr(MEMBER, CONTENT)
    refused(path, tmp_path, "leads out of the folder")


def test_unpack_refuses_a_link_in_a_zip_archive(tmp_path):
    path = tmp_path / "x.zip"
    link = zipfile.ZipInfo(MEMBER)
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(path, tmp_path, "link or a device")


def test_unpack_refuses_a_file_that_is_larger_than_it_may_be(tmp_path):
    small = File("inside.bin", len(CONTENT) - 1)
    message = f"unpacks to more than {len(CONTENT) - 1} bytes"
    refused(tar(tmp_path / "x.tar.gz"), tmp_path, message, file=small)
    (tmp_path / "x.tar.gz").unlink()
    refused(zipped(tmp_path / "x.zip"), tmp_path, message, file=small)
    (tmp_path / "x.zip").unlink()
    refused(gzipped(tmp_path / "x.gz"), tmp_path, message, file=small, member="")


def test_unpack_writes_no_more_of_a_gzip_bomb_than_the_file_may_have(tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr(archives, "PIECE", 500)
    monkeypatch.setattr(archives.files, "replacing", watched(archives.files.replacing, sizes))
    refused(gzipped(tmp_path / "x.gz", bytes(50 << 20)), tmp_path, "unpacks to more than 600 bytes", member="")
    assert sizes == [500]


def test_unpack_refuses_other_content_than_was_published(tmp_path):
    other = File("inside.bin", len(CONTENT), hashlib.sha256(b"other").hexdigest())
    refused(tar(tmp_path / "x.tar.gz"), tmp_path, "wrong sha256", file=other)
    shorter = File("inside.bin", len(CONTENT) + 1, hashlib.sha256(CONTENT).hexdigest())
    refused(tar(tmp_path / "x.tar.gz"), tmp_path, f"expected {len(CONTENT) + 1} bytes", file=shorter)


@pytest.mark.parametrize("make", [tar, zipped, gzipped])
@pytest.mark.parametrize("damage", ["short", "noise"])
def test_unpack_refuses_a_damaged_archive(tmp_path, make, damage):
    path = make(tmp_path / {tar: "x.tar.gz", zipped: "x.zip", gzipped: "x.gz"}[make])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage == "short" else b"<html>" + whole)
    if make is zipped and damage == "noise":  # a zip archive may follow anything
        path.write_bytes(whole.replace(b"PK", b"KP"))
    refused(path, tmp_path, "damaged", member="" if make is gzipped else MEMBER)


def test_unpack_names_what_an_archive_lacks(tmp_path):
    refused(tar(tmp_path / "x.tar.gz"), tmp_path, r"x\.tar\.gz: does not hold inside\.bin", member="other")
