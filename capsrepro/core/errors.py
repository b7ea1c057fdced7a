"""What the project raises for what a user can mend."""


class Error(Exception):
    """Something outside the code is wrong: a file, a parameter, a mirror, a disk.

    The message is one line: what is wrong, where, what was received and what to do. The commands print it and exit
    with 1.
    """


class Unreachable(Error):
    """A source cannot be had from here: no mirror of it answers. Nothing is wrong with what was asked for."""


class Busy(Error):
    """Another process works in the same folder."""


class Stopped(Exception):
    """A signal asked a training to stop, which it did at the end of a step, its state saved."""

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.signal = signal
