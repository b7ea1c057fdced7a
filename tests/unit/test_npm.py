"""The npm mirror, with a command of that name that does what the test wants."""

import hashlib
import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from capsrepro import sources
from capsrepro.sources.mirrors import Npm
from capsrepro.sources.parts import File, MirrorError, Package
from capsrepro.sources.published import Source
from capsrepro.sources.web import Web

CONTENT = b"pixels" * 1000
FILE = File("images", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def tarred():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/data/images")
        member.size = len(CONTENT)
        archive.addfile(member, io.BytesIO(CONTENT))
    return packed.getvalue()


TARRED = tarred()
ARCHIVE = Package("toy-1.0.0.tgz", len(TARRED), hashlib.sha256(TARRED).hexdigest(), {"images": "package/data/images"})


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Puts an `npm` on PATH that does what `script` says, and gives the mirror."""

    def npm(script, seconds=10.0):
        command, archive = tmp_path / "bin" / "npm", tmp_path / "toy.tgz"
        command.parent.mkdir()
        archive.write_bytes(TARRED)
        script = script.replace("TGZ", str(archive))
        command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n{script}\n')
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
        return Npm("toy@1.0.0", (ARCHIVE,), seconds)

    return npm


def download(mirror, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    mirror.download(ARCHIVE, work / "out", Web())
    assert [path.name for path in work.iterdir()] == ["out"]
    return (work / "out").read_bytes()


def test_npm_packs_into_the_folder_of_the_work(tmp_path, npm):
    assert download(npm("cp TGZ toy-1.0.0.tgz; echo toy-1.0.0.tgz"), tmp_path) == TARRED
    assert (tmp_path / "arguments").read_text().startswith("pack toy@1.0.0 --ignore-scripts ")


def test_npm_brings_files_to_a_fetch(tmp_path, npm, monkeypatch):
    monkeypatch.delenv("CAPSREPRO_OFFLINE", raising=False)
    table = {"toy": Source((FILE,), (npm("cp TGZ toy-1.0.0.tgz"),))}
    place = sources.fetch("toy", tmp_path / "data", table=table)
    assert [path.name for path in place.iterdir()] == ["images"]
    assert (place / "images").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'npm error code ENOTFOUND' >&2; echo 'npm error a log' >&2; exit 1", "^npm error code ENOTFOUND$"),
        ("echo nothing doing >&2; exit 3", "^nothing doing$"),
        ("exit 3", "^npm ended with status 3$"),
        ("true", r"^npm wrote no toy-1\.0\.0\.tgz$"),
    ],
)
def test_npm_that_fails_says_why_and_leaves_nothing(tmp_path, npm, script, reason):
    with pytest.raises(MirrorError, match=reason):
        download(npm(script), tmp_path)
    assert not list((tmp_path / "work").iterdir())


def test_npm_that_is_not_installed_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MirrorError, match="npm is not installed"):
        download(Npm("toy@1.0.0", (ARCHIVE,)), tmp_path)


def test_npm_that_hangs_is_ended_with_all_that_it_started(tmp_path, npm):
    hanging = npm(f"sleep 1000 & echo $! > {tmp_path}/child; wait", seconds=0.5)
    with pytest.raises(MirrorError, match=r"too slow, not done after 0\.5 s"):
        download(hanging, tmp_path)
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    # A killed process may still run for a moment: SIGKILL is only sent here.
    for _ in range(1000):
        if not runs(child):
            return
        time.sleep(0.01)
    pytest.fail("what npm had started still runs 10 s after its end")


def runs(stat):
    """Says whether the process of `stat`, its file in /proc, is there and no zombie."""
    try:
        return stat.read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
