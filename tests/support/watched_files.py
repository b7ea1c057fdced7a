"""What is done to files, watched and made to fail: each write, fsync, rename and removal of this process."""

import errno
import io
import os
from collections.abc import Callable
from typing import Any

import pytest

ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # each of which a write may meet


class Watch:
    """Notes each write, fsync, rename and removal, and asks `fault` before it is done: of a write, half is by then.

    A fault is told all that was asked for so far, and raises or kills the process or lets it pass.
    """

    def __init__(self, patch: pytest.MonkeyPatch, fault: Callable[[list[str]], None] = lambda asked: None) -> None:
        self.asked: list[str] = []
        self.done: list[str] = []
        self.fault = fault
        for name in ("fsync", "replace", "unlink"):
            patch.setattr(os, name, self._watched(name, getattr(os, name)))
        opened = io.open

        def watched_open(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            stream = opened(file, mode, *arguments, **options)
            return Watched(self, stream) if set(mode) & set("wax+") else stream

        patch.setattr(io, "open", watched_open)  # zipfile's and pathlib's

    def note(self, name: str) -> None:
        self.asked.append(name)
        self.fault(self.asked)
        self.done.append(name)

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            self.note(name)
            return call(*arguments, **options)

        return watched


class Watched:
    """A file that is written to."""

    def __init__(self, watch: Watch, stream: Any) -> None:
        self.watch, self.stream = watch, stream

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, content: Any) -> int:
        half = len(content) // 2
        written = self.stream.write(content[:half])
        self.stream.flush()
        self.watch.note("write")
        return int(written + self.stream.write(content[half:]))
