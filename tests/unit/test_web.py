"""Downloads from a real server on loopback that behaves well, badly, and in between."""

import contextlib
import errno
import hashlib
import re
import threading
from pathlib import Path

import pytest

from capsrepro import sources
from capsrepro.sources.mirrors import Http
from capsrepro.sources.parts import MirrorError, Package
from capsrepro.sources.published import Source
from capsrepro.sources.web import Patience, Web
from tests.support.loopback import Handler, Server, serving

CONTENT = bytes(range(251)) * 1000
PACKAGE = Package("x.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
UNPUBLISHED = Package("x.bin", 10 * len(CONTENT))
HURRY = Patience(connect=1, answer=2, stall=0.1, window=0.01, rate=0, pause=0)


class Behaving(Handler):
    """The first part of the path says how to behave."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Range"]))
        getattr(self, self.path.split("/")[1])()

    def good(self):
        self.answer(CONTENT)

    def truncated(self):
        self.answer(CONTENT[:1000], length=len(CONTENT))

    def ranges(self):  # breaks off once, then goes on where it is asked to
        if start := self.headers["Range"]:
            first = int(re.fullmatch(r"bytes=(\d+)-", start)[1])
            where = f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"
            self.answer(CONTENT[first:], status=206, Content_Range=where)
        else:
            self.answer(CONTENT[:1000], length=len(CONTENT), Accept_Ranges="bytes")

    def elsewhere(self):  # goes on, but not where it is asked to
        if self.headers["Range"]:
            self.answer(CONTENT[7:], status=206, Content_Range=f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.answer(CONTENT)

    def longer(self):
        self.answer(CONTENT + b"!")

    def unsized(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(CONTENT)

    def endless(self):
        self.unsized()
        self.wfile.write(b"!")

    def corrupt(self):
        self.answer(CONTENT[::-1])

    def forbidden(self):
        self.answer(b"", status=403)

    def busy(self):
        self.answer(b"", status=503) if len(self.server.asked) == 1 else self.answer(CONTENT)

    def redirect(self):
        self.answer(b"", status=302, Location="/good/x.bin")

    def heavy(self):  # a redirect whose body has no end
        self.send_response(302)
        self.send_header("Location", "/good/x.bin")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.server.over.is_set():
                self.wfile.write(bytes(1 << 16))

    def nowhere(self):
        self.answer(b"", status=302, Location="ftp:x.bin")

    def malformed(self):
        self.answer(b"", status=302, Location="http://[::1/x.bin")

    def rude(self):
        self.send_response(403, "\x1b[31m " + "a" * 60_000)
        self.end_headers()

    def digits(self):
        self.send_response(200)
        self.send_header("Content-Length", "\u00b2")
        self.end_headers()

    def dribble(self):  # a line of headers without end
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        with contextlib.suppress(OSError):
            while not self.server.over.wait(0.001):
                self.wfile.write(b"x")

    def loop(self):
        self.answer(b"", status=302, Location=self.path)

    def trickle(self):
        self.answer(b"", length=len(CONTENT))
        while not self.server.over.wait(0.001):
            self.wfile.write(b"!")

    def stall(self):
        self.answer(CONTENT[:10], length=len(CONTENT))
        self.server.over.wait()

    def silent(self):
        self.server.over.wait()


class BehavingServer(Server):
    def __init__(self):
        super().__init__(Behaving)
        self.asked, self.over = [], threading.Event()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = BehavingServer()
    with serving(server, over=server.over):
        yield server


@pytest.fixture
def download(server, tmp_path):
    def download(behaviour, package=PACKAGE, patience=HURRY, web=None):
        (web or Web(patience)).download(f"{server.address}{behaviour}/x.bin", package, tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
        return (tmp_path / "out").read_bytes()

    return download


@pytest.mark.parametrize("behaviour", ["good", "busy", "redirect", "heavy", "unsized", "ranges"])
def test_download_brings_every_byte(download, behaviour):
    assert download(behaviour) == CONTENT


@pytest.mark.parametrize(
    ("behaviour", "message", "asked"),
    [
        ("truncated", "truncated", 3),
        ("longer", f"expected {len(CONTENT)} bytes, the server announces {len(CONTENT) + 1}", 1),
        ("endless", "the server sends more", 1),
        ("forbidden", "HTTP 403 Forbidden", 1),
        ("loop", "redirects more than 5 times", 6),
        ("nowhere", r"redirects to ftp:x.bin, which is no web server", 1),
        ("malformed", "Failed to parse|Invalid URL|[Ii]nvalid", 1),
        ("rude", r"HTTP 403 \\x1b\[31m a{40}.*\.\.\.a{70}", 1),
        ("digits", "the server sends more|expected|truncated", 3),
        ("stall", "stalled, no byte for 0.1 s", 1),
    ],
)
def test_download_gives_up_with_the_reason_and_leaves_nothing(server, download, tmp_path, behaviour, message, asked):
    with pytest.raises(MirrorError, match=message):
        download(behaviour)
    assert len(server.asked) == asked
    assert not list(tmp_path.iterdir())


def test_download_gives_up_on_a_trickle(download, tmp_path):
    with pytest.raises(MirrorError, match=r"too slow, \d+ bytes/s"):
        download("trickle", patience=Patience(stall=5, window=0.02, rate=10**9))
    assert not list(tmp_path.iterdir())


def test_download_goes_on_at_the_byte_where_the_server_broke_off(server, download):
    assert download("ranges") == CONTENT
    assert [start for _, start in server.asked] == [None, "bytes=1000-"]


def test_download_goes_on_with_what_an_earlier_process_left(server, download, tmp_path):
    (tmp_path / "x.bin.part").write_bytes(CONTENT[:777])
    assert download("ranges") == CONTENT
    assert [start for _, start in server.asked] == ["bytes=777-"]


@pytest.mark.parametrize("behaviour", ["ranges", "elsewhere", "good"])
def test_download_starts_anew_where_what_was_left_is_wrong(download, tmp_path, behaviour):
    (tmp_path / "x.bin.part").write_bytes(b"!" * 777)
    assert download(behaviour) == CONTENT


def test_download_goes_on_with_nothing_where_no_hash_was_published(server, download, tmp_path):
    (tmp_path / "x.bin.part").write_bytes(b"!" * 777)
    assert download("good", UNPUBLISHED) == CONTENT
    assert [start for _, start in server.asked] == [None]


def test_download_wants_a_size_from_the_server_where_none_was_published(download):
    with pytest.raises(MirrorError, match="announces no size"):
        download("unsized", UNPUBLISHED)


def test_download_keeps_what_came_only_if_it_can_go_on_with_it(download, tmp_path):
    with pytest.raises(MirrorError, match="truncated"):
        download("ranges", patience=Patience(attempts=1))
    assert (tmp_path / "x.bin.part").read_bytes() == CONTENT[:1000]


def test_a_silent_host_is_waited_for_once(server, download):
    web = Web(Patience(answer=0.05))
    for _ in range(3):
        with pytest.raises(MirrorError, match=r"127\.0\.0\.1:\d+ does not answer \(nothing within 0.05 s\)"):
            download("silent", web=web)
    assert len(server.asked) == 1


def test_after_a_timeout_no_thread_is_left(download, monkeypatch):
    threads = []
    start = threading.Thread.start

    def started(thread):
        threads.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)
    for behaviour in ("silent", "dribble"):
        with pytest.raises(MirrorError, match="nothing within"):
            download(behaviour, patience=Patience(answer=0.2, stall=60))
    waiting = [thread for thread in threads if "(work)" in thread.name]
    assert len(waiting) == 2
    assert not any(thread.is_alive() for thread in waiting)


def test_a_host_that_refuses_connections_is_asked_once(server, monkeypatch, tmp_path):
    import requests

    calls = []
    get = requests.Session.get
    monkeypatch.setattr(requests.Session, "get", lambda *args, **named: calls.append(args) or get(*args, **named))
    web = Web(HURRY)
    for name in ("a", "b"):
        with pytest.raises(MirrorError, match=r"127\.0\.0\.1:1 does not answer \(.*Connection refused"):
            web.download(f"http://127.0.0.1:1/{name}", PACKAGE, tmp_path / name)
    assert len(calls) == 1


def test_attempts_are_further_and_further_apart(download, monkeypatch):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    with pytest.raises(MirrorError):
        download("truncated", patience=Patience(attempts=3, pause=1.5))
    assert pauses == [1.5, 3.0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_not_the_mirrors_fault_and_leaves_nothing(server, download, tmp_path):
    (tmp_path / "x.bin.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as raised:
        download("good")
    assert raised.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())
    assert len(server.asked) == 1


@pytest.mark.parametrize("behaviour", ["truncated", "corrupt", "longer", "forbidden", "stall", "endless", "loop"])
def test_a_fetch_goes_from_a_bad_server_to_a_good_one(server, tmp_path, monkeypatch, behaviour):
    monkeypatch.delenv("CAPSREPRO_OFFLINE", raising=False)
    mirrors = tuple(Http(f"{server.address}{path}/", (PACKAGE,)) for path in (behaviour, "good"))
    said = []
    table = {"toy": Source((PACKAGE,), mirrors)}
    place = sources.fetch("toy", tmp_path / "data", web=Web(HURRY), say=said.append, table=table)
    assert said == [f"{place}: x.bin from {server.address}good/"]
    assert (place / "x.bin").read_bytes() == CONTENT
    assert sorted(path.name for path in (tmp_path / "data").rglob("*") if path.is_file()) == ["lock", "x.bin"]
