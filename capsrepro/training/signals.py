"""Defers signals, so that a training stops at the end of a step."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def deferred() -> Iterator[list[int]]:
    """Collects SIGTERM, SIGINT (Ctrl-C) and SIGALRM in a list instead of ending the process; a second one ends it.

    SIGALRM is a limit of time: a caller of the training sets it with `signal.alarm`.

    Only the main thread of a process can handle signals; in other threads the list stays empty.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def record(number: int, frame: Any) -> None:
        if received:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)
        received.append(number)

    before = {number: signal.signal(number, record) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
