"""Keeps the console free of what TensorFlow logs there."""

import contextlib
import os
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
