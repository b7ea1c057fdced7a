"""HTTP downloads that give up early on a dead host, a stall, a low rate or a wrong size."""

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from capsrepro.core import files
from capsrepro.core.text import one_line
from capsrepro.sources.parts import ContentError, MirrorError, Package
from capsrepro.sources.sockets import Sockets

if TYPE_CHECKING:
    import requests

Result = TypeVar("Result")

PIECE = 1 << 16
MOST_REDIRECTS = 5
_MOST_DIGITS = 16  # of a length in bytes
_ENDING = 1.0  # seconds that a shut connection may take to end its thread


@dataclasses.dataclass(frozen=True)
class Patience:
    """Timeouts, lowest rate and number of attempts of a download.

    Attributes:
        connect: seconds to connect to one address.
        answer: seconds until the response headers arrive, including name look-up, all addresses and redirects.
        stall: seconds without a byte.
        window: seconds over which the rate is measured.
        rate: lowest acceptable rate in bytes per second.
        attempts: number of attempts if the server is busy or closes the connection early.
        pause: seconds before the second attempt; twice that before the third.
    """

    connect: float = 5.0
    answer: float = 10.0
    stall: float = 10.0
    window: float = 10.0
    rate: int = 20_000
    attempts: int = 3
    pause: float = 1.0


class PassingError(MirrorError):
    """A temporary fault; another attempt may succeed."""


class Web:
    """A downloader that remembers hosts without an answer, so as not to wait for them again."""

    def __init__(self, patience: Patience | None = None) -> None:
        """Takes the timeouts; None: the defaults of `Patience`."""
        self.patience = patience or Patience()
        self.unreachable: dict[str, str] = {}

    def download(self, url: str, package: Package, output: Path) -> None:
        """Downloads `package` from `url` to `output`, resuming an earlier attempt from `<name>.part` beside it.

        A package without a published hash is never resumed, as two versions could be mixed unnoticed.

        Raises:
            MirrorError: the host is unreachable or slow, or the content does not have the size of the package.
        """
        part = output.with_name(f"{package.name}.part")
        for attempt in range(1, self.patience.attempts + 1):
            try:
                self._attempt(url, package, part)
                part.replace(output)
                return
            except PassingError:
                if attempt == self.patience.attempts:
                    raise
                time.sleep(self.patience.pause * attempt)
            except OSError:  # most likely a full disk: free the space
                part.unlink(missing_ok=True)
                raise

    def _attempt(self, url: str, package: Package, part: Path) -> None:
        done = part.stat().st_size if package.sha256 and part.exists() else 0
        if done >= package.size:
            done = 0
        with self._open(url, done) as answer:
            if done and answer.status_code in (206, 416):  # 416: the server's file is shorter than ours
                if answer.headers.get("Content-Range", "") != f"bytes {done}-{package.size - 1}/{package.size}":
                    part.unlink()
                    raise PassingError(f"{package.name}: the server would not resume at byte {done}")
            elif answer.status_code == 200:
                done = 0
            else:
                kind = PassingError if answer.status_code in (429, 500, 502, 503, 504) else MirrorError
                raise kind(f"{package.name}: HTTP {answer.status_code} {one_line(answer.reason)}")
            try:
                self._receive(answer, package, part, done)
            except MirrorError:
                if answer.status_code != 206 and answer.headers.get("Accept-Ranges") != "bytes":
                    part.unlink(missing_ok=True)
                raise
        if done and files.sha256(part) != package.sha256:
            part.unlink()
            raise PassingError(f"{package.name}: wrong sha256 after resuming at byte {done}")

    def _open(self, url: str, done: int) -> "requests.Response":
        import requests
        import urllib3

        host = urlsplit(url).netloc
        if host in self.unreachable:
            raise MirrorError(self.unreachable[host])
        headers = {"Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
        with Sockets() as sockets:
            try:
                return _within(self.patience.answer, lambda: self._follow(sockets, url, headers), sockets.shut)
            except (requests.ConnectionError, requests.Timeout, TimeoutError) as fault:
                self.unreachable[host] = f"{host} does not answer ({_cause(fault)})"
                raise MirrorError(self.unreachable[host]) from fault
            except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as fault:
                raise MirrorError(_cause(fault)) from fault  # ValueError: an address that is none

    def _follow(self, sockets: Sockets, url: str, headers: dict[str, str]) -> "requests.Response":
        """Requests `url` and follows redirects; requests itself would read their bodies, however long.

        Raises:
            MirrorError: there are too many redirects, or one does not lead to a web server.
        """
        timeout = (self.patience.connect, self.patience.stall)
        for _ in range(MOST_REDIRECTS + 1):
            answer: requests.Response = sockets.session.get(
                url, headers=headers, stream=True, timeout=timeout, allow_redirects=False
            )
            if not answer.is_redirect:
                return answer
            answer.close()
            url = urljoin(url, answer.headers["Location"])
            if urlsplit(url).scheme not in ("http", "https"):
                raise MirrorError(f"redirects to {one_line(url)}, which is no web server")
        raise MirrorError(f"redirects more than {MOST_REDIRECTS} times")

    def _receive(self, answer: "requests.Response", package: Package, part: Path, done: int) -> None:
        """Appends the response body to the `done` bytes in `part`, checking size and rate."""
        from tqdm import tqdm

        length = answer.headers.get("Content-Length", "")
        announced = length.isascii() and length.isdigit() and len(length) < _MOST_DIGITS
        total = done + int(length) if announced else package.size if package.sha256 else None
        if total is None:
            raise MirrorError(f"{package.name}: the server announces no size, and nobody published one")
        if total > package.size or (package.sha256 and total != package.size):
            raise ContentError(f"{package.name}: expected {package.size} bytes, the server announces {total}")
        bar = tqdm(total=total, initial=done, desc=package.name, unit="B", unit_scale=True, leave=False, disable=None)
        since, received = time.monotonic(), 0
        with bar, part.open("ab" if done else "wb") as file:
            while piece := self._read(answer, package):
                file.write(piece)
                bar.update(len(piece))
                done += len(piece)
                received += len(piece)
                if done > total:
                    raise ContentError(f"{package.name}: expected {total} bytes, the server sends more")
                elapsed = time.monotonic() - since
                if elapsed >= self.patience.window:
                    rate, since, received = received / elapsed, time.monotonic(), 0
                    if rate < self.patience.rate:
                        raise MirrorError(f"{package.name}: too slow, {rate:.0f} bytes/s for {elapsed:.0f} s")
        if done < total:
            raise PassingError(f"{package.name}: truncated, {done} of {total} bytes came")

    def _read(self, answer: "requests.Response", package: Package) -> bytes:
        """Reads the bytes that are available; `iter_content` would wait for a whole chunk, however slow the server."""
        import urllib3

        try:
            piece: bytes = answer.raw.read1(PIECE, decode_content=False)
        except urllib3.exceptions.ReadTimeoutError as fault:
            raise MirrorError(f"{package.name}: stalled, no byte for {self.patience.stall:g} s") from fault
        except urllib3.exceptions.HTTPError as fault:
            raise PassingError(f"{package.name}: truncated, the connection broke off") from fault
        return piece


def _within(seconds: float, call: Callable[[], Result], end: Callable[[], None]) -> Result:
    """Calls `call` in a thread; if it takes longer, calls `end`, which is to end it, and raises TimeoutError.

    The timeouts of sockets are for each single read, and name look-up has none.
    """
    results: list[Result] = []
    faults: list[Exception] = []

    def work() -> None:
        try:
            results.append(call())
        except Exception as fault:  # noqa: BLE001  raised again below, in the waiting thread
            faults.append(fault)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        end()
        thread.join(_ENDING)
        raise TimeoutError(f"nothing within {seconds:g} s")
    if faults:
        raise faults[0]
    return results[0]


def _cause(fault: Exception) -> str:
    """The innermost reason of a fault, on one line and without object addresses."""
    inner = getattr(fault.args[0], "reason", fault) if fault.args else fault
    return one_line(str(inner).rsplit(">: ", 1)[-1].rsplit("): ", 1)[-1]) or type(fault).__name__
