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
SPARSE = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1000000"}  # few bytes in the archive, many on disk


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
        ("evil", tarfile.REGTYPE, {"size": archives.EXTRA_BYTES + 10_000}, "declares"),
    ],
)
def test_unpack_refuses_a_tar_archive_with_a_hostile_member(tmp_path, name, kind, fields, message):
    refused(tar(tmp_path / "x.tar.gz", (name, kind, fields)), tmp_path, message)


def test_unpack_adds_up_what_members_declare(tmp_path):
    half = ("filler", tarfile.REGTYPE, {"size": archives.EXTRA_BYTES * 2 // 3})
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


def packed(path, *members):
    """A tar.gz of members: (name, content) for a file, (name, type, fields) for anything else."""
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, *fields in members:
            member = tarfile.TarInfo(name)
            content = kind if isinstance(kind, bytes) and len(kind) != 1 else b""
            member.type = tarfile.REGTYPE if content else kind
            member.size = len(content)
            for field, value in fields[0].items() if fields else ():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(content or b"\0" * member.size))
    return path


def wholly_refused(path, tmp_path, message, most=10**6):
    place = tmp_path / "deep" / "place"
    with pytest.raises(MirrorError, match=message) as raised:
        archives.unpack_all(path, place, most)
    assert "\n" not in str(raised.value)
    assert path.name in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == sorted([path, place.parent])


def test_unpack_all_gives_every_file_where_the_archive_has_it(tmp_path):
    path = packed(
        tmp_path / "x.tar.gz",
        ("cifar", tarfile.DIRTYPE, {"mode": 0o000}),
        ("cifar/cifar0/model.ckpt-1.index", CONTENT, {"mode": 0o4777}),
        ("./cifar/cifar1.txt", b"text"),
    )
    place = tmp_path / "deep" / "place"
    archives.unpack_all(path, place, 10**6)
    index, text = place / "cifar" / "cifar0" / "model.ckpt-1.index", place / "cifar" / "cifar1.txt"
    assert (index.read_bytes(), text.read_bytes()) == (CONTENT, b"text")
    assert index.stat().st_mode & 0o7777 == 0o644  # whatever the archive says
    assert {found for found in tmp_path.rglob("*") if found.is_file()} == {path, index, text}
    assert list(place.parent.iterdir()) == [place]
    made = tmp_path / "made"
    made.mkdir()
    assert place.stat().st_mode == made.stat().st_mode  # as readable to others as any folder


@pytest.mark.parametrize(
    ("name", "kind", "fields", "message"),
    [
        ("../evil", tarfile.REGTYPE, {}, r"x\.tar\.gz: '\.\./evil' leads out of the folder"),
        ("folder/../../evil", tarfile.REGTYPE, {}, "'folder/../../evil' leads out of the folder"),
        ("folder/..", tarfile.DIRTYPE, {}, "'folder/..' leads out of the folder"),
        ("/tmp/evil", tarfile.REGTYPE, {}, "'/tmp/evil' leads out of the folder"),
        ("..\\evil", tarfile.REGTYPE, {}, "leads out of the folder"),
        ("evil", tarfile.SYMTYPE, {"linkname": "/etc/passwd"}, "evil is a link or a device"),
        ("evil", tarfile.SYMTYPE, {"linkname": MEMBER}, "evil is a link or a device"),
        ("evil", tarfile.LNKTYPE, {"linkname": MEMBER}, "evil is a link or a device"),
        ("evil", tarfile.CHRTYPE, {"devmajor": 1, "devminor": 3}, "evil is a link or a device"),
        ("evil", tarfile.BLKTYPE, {"devmajor": 8}, "evil is a link or a device"),
        ("evil", tarfile.FIFOTYPE, {}, "evil is a link or a device"),
        ("evil", tarfile.REGTYPE, {"pax_headers": SPARSE}, "evil declares 1000000 bytes, where 999400 are left for it"),
        ("evil", tarfile.REGTYPE, {"size": 10**6}, "evil declares 1000000 bytes, where 999400 are left for it"),
        ("evil", tarfile.REGTYPE, {"pax_headers": {"size": "-512"}}, "evil declares -512 bytes"),
        (MEMBER + "/evil", tarfile.REGTYPE, {}, f"{MEMBER}/evil cannot be a file"),
        ("folder", tarfile.REGTYPE, {}, "folder cannot be a file"),
        ("./", tarfile.REGTYPE, {}, " cannot be a file"),
        ("e" * 300, tarfile.REGTYPE, {}, "e cannot be a file"),
    ],
)
def test_unpack_all_refuses_a_hostile_member_and_leaves_nothing(tmp_path, name, kind, fields, message):
    wholly_refused(packed(tmp_path / "x.tar.gz", (MEMBER, CONTENT), (name, kind, fields)), tmp_path, message)


def test_unpack_all_refuses_a_name_with_a_zero_byte(tmp_path):
    wholly_refused(
        packed(tmp_path / "x.tar.gz", ("good", CONTENT, {"pax_headers": {"path": "evil\0"}})), tmp_path, "damaged"
    )


def test_unpack_all_adds_up_what_members_declare(tmp_path):
    path = packed(tmp_path / "x.tar.gz", ("a", CONTENT), ("b", CONTENT))
    wholly_refused(path, tmp_path, r"x\.tar\.gz: b declares 600 bytes, where 599 are left", most=2 * len(CONTENT) - 1)
    archives.unpack_all(path, tmp_path / "place", 2 * len(CONTENT))


@pytest.mark.parametrize("lost", [1, 9, 30, 100, 150, 200])
def test_unpack_all_refuses_a_truncated_archive(tmp_path, lost):
    path = packed(tmp_path / "x.tar.gz", ("a", CONTENT), ("b", hashlib.sha512(CONTENT).digest()))
    whole = path.read_bytes()
    assert len(whole) > 200
    path.write_bytes(whole[:-lost])
    wholly_refused(path, tmp_path, r"x\.tar\.gz: damaged")


def test_unpack_all_refuses_an_archive_whose_later_members_cannot_be_found(tmp_path):
    path = packed(tmp_path / "x.tar.gz", ("a", CONTENT), ("b", CONTENT))
    plain = bytearray(gzip.decompress(path.read_bytes()))
    plain[plain.index(b"b\0\0")] ^= 1  # the header's checksum no longer holds, and tarfile sees the end there
    broken = bytearray(gzip.compress(plain))
    broken[-8:-4] = path.read_bytes()[-8:-4]  # as gzip knew the content before
    path.write_bytes(broken)
    wholly_refused(path, tmp_path, r"x\.tar\.gz: damaged \(CRC check failed")


def test_unpack_all_reads_no_endless_end(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "EXTRA_BYTES", 20_000)
    path = packed(tmp_path / "x.tar.gz", ("a", CONTENT))
    archives.unpack_all(path, tmp_path / "place", 10**6)
    (tmp_path / "place" / "a").unlink()
    (tmp_path / "place").rmdir()
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(20_000)))
    wholly_refused(path, tmp_path, "20000 bytes or more after its last member")


def test_unpack_all_takes_one_of_two_files_of_one_name(tmp_path):
    path = packed(tmp_path / "x.tar.gz", ("a/b", b"first"), ("./a//b", b"second"))
    archives.unpack_all(path, tmp_path / "place", 100)
    assert [(found.name, found.read_bytes()) for found in (tmp_path / "place" / "a").iterdir()] == [("b", b"second")]


def test_unpack_all_leaves_nothing_when_it_is_interrupted(tmp_path, monkeypatch):
    path = packed(tmp_path / "x.tar.gz", ("a", CONTENT), ("b", CONTENT))
    written = []

    def interrupted(stream, file, output):
        if written:
            raise KeyboardInterrupt
        written.append(copy(stream, file, output))

    copy = archives._copy
    monkeypatch.setattr(archives, "_copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        archives.unpack_all(path, tmp_path / "place", 10**6)
    assert len(written) == 1
    assert list(tmp_path.iterdir()) == [path]
