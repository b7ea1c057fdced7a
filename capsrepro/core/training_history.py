"""Reads the history of a training: a CSV file with a line for each interval."""

import csv
import io
from pathlib import Path

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.text import one_line


def read(path: Path) -> list[dict[str, float]]:
    """Reads the values of each line by column; empty cells are left out.

    Raises:
        Error: the file is missing, is no regular file or not CSV, or a value is no number; the message names it.
    """
    try:
        lines = csv.DictReader(io.StringIO(files.read_text(path), newline=""), strict=True)
        return [{name: float(value) for name, value in line.items() if value} for line in lines]
    except (OSError, ValueError, TypeError, csv.Error) as fault:  # TypeError: a line is longer than the first
        raise Error(
            f"{path}: not the history of a training ({one_line(fault)}); run `dvc repro` to write it anew"
        ) from fault


def last(path: Path) -> dict[str, float]:
    """Reads the values at the end of the training, see `read`; empty if there is no line."""
    return (read(path) or [{}])[-1]
