"""Reads the full result files of every run, and the additional CSV tables of a scale."""

import csv
import dataclasses
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.text import one_line
from capsrepro.evidence.results import Result


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """One run with one seed: the checked result, and the full content of its metrics and provenance files."""

    result: Result
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]
    paths: Mapping[str, str]  # metrics, provenance and, if present, history; relative to the folder of the report

    @property
    def name(self) -> str:
        """The name of the run; released checkpoints are marked."""
        return self.result.run + (" (released checkpoint)" if self.result.scale == "released" else "")

    @property
    def seconds(self) -> float | None:
        """The time of its training; of seeds that were trained together, each one's equal share of their time."""
        seconds, together = self.result.train_seconds, self.provenance.get("together")
        return None if seconds is None else seconds / (len(together) if isinstance(together, list) and together else 1)

    @property
    def commit(self) -> str:
        """The full hash of the commit that trained it; empty if unknown."""
        return self.result.git_revision

    @property
    def dirty(self) -> bool | None:
        """Whether tracked files differed from that commit; None if unknown."""
        return self.provenance.get("git_dirty")


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A CSV table from the folder `studies` of the scale."""

    name: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]


def read(folder: Path, scale: str, results: Sequence[Result]) -> list[RunRecord]:
    """Reads the full files of results that `results.read` has checked.

    Raises:
        Error: a file is not a JSON object.
    """
    return [_read(folder, folder / scale, result) for result in results]


def sheets(folder: Path) -> list[Sheet]:
    """Reads the CSV tables in the folder `studies` of a scale, sorted by name; empty files are skipped.

    Raises:
        Error: a file is not CSV, or a line has fewer or more values than there are columns.
    """
    read = [_sheet(path) for path in sorted((folder / "studies").glob("*.csv"))]
    return [sheet for sheet in read if sheet.columns]


def _read(folder: Path, beside: Path, result: Result) -> RunRecord:
    home = folder / result.scale
    metrics, provenance = (home / kind / f"{result.name}.json" for kind in ("metrics", "provenance"))
    paths = {"metrics": metrics, "provenance": provenance, "history": home / "history" / f"{result.name}.csv"}
    shown = {kind: Path(os.path.relpath(path, beside)).as_posix() for kind, path in paths.items() if path.is_file()}
    return RunRecord(result, files.read_json(metrics), files.read_json(provenance), shown)


def _sheet(path: Path) -> Sheet:
    try:
        lines = [line for line in csv.reader(io.StringIO(files.read_text(path), newline=""), strict=True) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise Error(f"{path}: not readable as CSV ({one_line(fault)}); write it anew or remove it") from fault
    columns = lines[0] if lines else []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(columns):
            message = f"expected {len(columns)} values, received {len(line)}"
            raise Error(f"{path}, line {number} of those that are not empty: {message}; write it anew or remove it")
    return Sheet(path.name, columns, lines[1:])
