"""An HTTP session whose connections can be shut from another thread, which ends a call that waits in it."""

import contextlib
import socket
from typing import Any, cast


class Sockets:
    """A context manager with a `requests` session that remembers its connections.

    A name look-up cannot be ended, and connections through a proxy are not remembered.
    """

    def __init__(self) -> None:
        import requests

        self.session = cast(Any, requests.Session())
        self.session.get_redirect_target = lambda _: None  # else requests reads the body of a redirect, however long
        self._connections: list[Any] = []
        self._is_shut = False
        for address in ("http://", "https://"):
            manager: Any = self.session.get_adapter(address).poolmanager
            manager.pool_classes_by_scheme = {
                scheme: type(pool.__name__, (pool,), {"ConnectionCls": self._remembering(pool.ConnectionCls)})
                for scheme, pool in manager.pool_classes_by_scheme.items()
            }

    def __enter__(self) -> "Sockets":
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the session; a response that is being read keeps its connection."""
        self.session.close()

    def shut(self) -> None:
        """Ends all calls in the session that wait for a server, and refuses new ones."""
        self._is_shut = True
        for connection in self._connections:
            if connection.sock is not None:
                with contextlib.suppress(OSError):  # not connected yet, or no longer
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def _remembering(self, kind: type[Any]) -> type[Any]:
        """A class of connections that are remembered as soon as they connect."""

        def connect(connection: Any) -> None:
            if self._is_shut:
                raise TimeoutError("shut")
            self._connections.append(connection)
            kind.connect(connection)

        return type(kind.__name__, (kind,), {"connect": connect})
