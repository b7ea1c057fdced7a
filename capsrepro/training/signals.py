"""Stopping when asked to, but not in the middle of a step."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def noted() -> Iterator[list[int]]:
    """Notes SIGTERM and Ctrl-C in a list instead of dying of them; a second one kills as ever.

    Only a process's main thread can do so; in another the list stays empty.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: Any) -> None:
        if asked:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
