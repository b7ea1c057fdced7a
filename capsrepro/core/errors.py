"""User-correctable errors."""

from pathlib import Path

_INSTALLED = (Path(__file__).parents[1] / "project").is_dir()  # as a package, see `paths.published`


class Error(Exception):
    """A fault outside the code that the user can correct: in a file, a parameter, a mirror, a disk.

    The message is one line: what is wrong, where, what was received and what to do. The commands print it and exit
    with 1.
    """

    def __init__(self, message: str) -> None:
        """Takes a message that names commands as in a checkout; where the package is installed, it says those there."""
        super().__init__(message.replace("python -m experiments.", "capsrepro ") if _INSTALLED else message)


class Unreachable(Error):
    """No mirror of a source can be reached. The request itself is correct."""


class Busy(Error):
    """Another process holds the lock of a folder."""


class Stopped(Exception):
    """A training was stopped by a signal, at the end of a step and after saving its state."""

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.signal = signal
