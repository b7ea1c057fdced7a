"""Lists unfinished trainings of a scale in `studies/tried.csv`."""

import contextlib
import csv
import io
import re
import sys
import time
from collections.abc import Iterator

from capsrepro.core import files
from capsrepro.core.errors import Busy, Error, Stopped
from capsrepro.core.params import RunConfig
from capsrepro.core.paths import RunPaths
from capsrepro.core.text import message, one_line
from capsrepro.network import environment

COLUMNS = (
    "run",
    "seed",
    "settings",
    "steps done",
    "wrong/examples",
    "seconds",
    "device",
    "commit",
    "what became of it",
)
_FOLDERS = re.compile(r"(?<![^\s'\"(])/(?:[^\s/:;,]+/)+")  # those before the last part of an absolute path


@contextlib.contextmanager
def listed_if_unfinished(where: RunPaths, run: RunConfig, before: float = 0.0) -> Iterator[None]:
    """Context manager that appends a line to the list if the training in it fails or is stopped.

    A training that could not start, because another process is training the run, is not listed. `before` is the time
    in seconds that was spent on it already. If the list cannot be written, standard error says so: what the training
    failed of comes first.
    """
    began = time.perf_counter() - before
    try:
        yield
    except Busy:  # another process trains this run
        raise
    except (Error, Stopped, OSError, MemoryError, KeyboardInterrupt) as fault:
        try:
            _append(where, run, time.perf_counter() - began, one_line(fault, 1000) or type(fault).__name__)
        except (Error, OSError, ValueError) as second:
            print(f"warning: {where.tried}: this training is not listed ({message(second)})", file=sys.stderr)
        raise


def _append(where: RunPaths, run: RunConfig, seconds: float, reason: str) -> None:
    step = re.search(r"step (\d+)", reason)
    revision = environment.revision()
    line = (
        where.run,
        where.seed,
        f"steps {run.steps:,}, decay_steps {run.decay_steps:,}",
        step[1] if step else "",
        "",
        f"{seconds:.0f}",
        environment.device(),
        revision["git_revision"][:7] + ("+" if revision["git_dirty"] else ""),
        _FOLDERS.sub(".../", reason),  # the list is committed: no folder of one machine is in it
    )
    path = where.tried
    with files.exclusive(path.parent):
        text = files.read_text(path) if path.exists() else _lines([COLUMNS])
        files.write_text(path, text + _lines([line]))


def _lines(rows: list[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
