"""Keeps the console free of what TensorFlow logs there, and ends standard output well."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # TensorFlow's setting; 3: only what ends the process
QUIET = "3"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Imports TensorFlow inside without a line on the console, unless `TF_CPP_MIN_LOG_LEVEL` asks for some.

    TensorFlow logs a few lines before it reads its own setting, and from C++. So all that is written to the descriptor
    of standard error meanwhile goes to a file, and is shown only if an exception is raised, other than by Ctrl-C.
    """
    if os.environ.setdefault(LEVEL, QUIET) != QUIET:
        yield
        return
    with tempfile.TemporaryFile() as kept:
        console = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(console, 2)
            kept.seek(0)
            os.write(2, kept.read())
            raise
        finally:
            os.dup2(console, 2)
            os.close(console)


def flush() -> None:
    """Writes what is left for standard output, while a failure can still be told in a line.

    Raises:
        OSError: it cannot be written; the error names standard output.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as fault:
        discard()
        raise OSError(fault.errno, fault.strerror, "standard output") from fault


def discard() -> None:
    """Lets what is left for standard output go nowhere; else the end of the process would try to write it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
