"""A web server on loopback, in place of the network."""

import contextlib
import http.server
import sys
import threading
from collections.abc import Iterator
from typing import Any


class Server(http.server.ThreadingHTTPServer):
    """A server on a free port; what its handler keeps of it is up to the subclass."""

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, *about: Any) -> None:
        """Shows a fault, unless the client hung up, which some tests have it do."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*about)


class Handler(http.server.BaseHTTPRequestHandler):
    """A handler that logs nothing and answers whole contents."""

    def answer(self, content: bytes, *, status: int = 200, length: int | None = None, **headers: str) -> None:
        """Sends a status, headers (with `_` for `-`) and content; `length` is what it says of its length."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def serving(server: http.server.HTTPServer, over: threading.Event | None = None) -> Iterator[None]:
    """Serves in a thread; `over` is set first at the end, for handlers that wait for it."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    with server:
        thread.start()
        try:
            yield
        finally:
            if over is not None:
                over.set()
            server.shutdown()
            thread.join()
