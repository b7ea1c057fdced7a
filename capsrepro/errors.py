"""What the project raises for what a user can mend."""


class Error(Exception):
    """Something outside the code is wrong: a file, a parameter, a mirror, a disk.

    The message is one line: what is wrong, where, what was received and what to do. The commands print it and exit
    with 1.
    """


class Unreachable(Error):
    """A source cannot be had from here: no mirror of it answers. Nothing is wrong with what was asked for."""
