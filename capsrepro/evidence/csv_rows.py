"""Reads the committed CSV files of facts: every cell is checked, and the first fault is one line."""

import csv
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.text import one_line
from capsrepro.core.validation import shown, validated


def read(path: Path, kind: type[Any], expected: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Reads a CSV file whose columns are the fields of a dataclass, in their order.

    Args:
        path: the file.
        kind: a pydantic dataclass; an empty cell counts as absent.
        expected: by column, what its cells should be, for the message.

    Returns:
        The lines in their order, each with `FILE, line N` for further messages.

    Raises:
        Error: the file is not readable, a column is unknown or missing, or a value is missing or of the wrong type. The
            message names the line and the column.
    """
    columns = [field.name for field in dataclasses.fields(kind)]
    try:
        reader = csv.reader(io.StringIO(files.read_text(path), newline=""), strict=True)
        _check_header(next(reader, []), columns, path)
        return [
            (where, _row(cells, columns, kind, where, expected))
            for cells in reader
            for where in [f"{path}, line {reader.line_num}"]
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        reason = one_line(getattr(fault, "strerror", None) or fault)
        raise Error(f"{path}: not readable as CSV ({reason}); restore it, in a checkout with `git checkout`") from fault


def by_id(lines: list[tuple[str, Any]]) -> dict[str, Any]:
    """The lines of `read` by their `id`.

    Raises:
        Error: an id is repeated.
    """
    found: dict[str, Any] = {}
    for where, row in lines:
        if row.id in found:
            raise Error(f"{where}, id: {shown(row.id)} stands in an earlier line too; give each row its own")
        found[row.id] = row
    return found


def _check_header(names: list[str], columns: list[str], path: Path) -> None:
    for name in names:
        if name not in columns or names.count(name) > 1:
            raise Error(
                f"{path}, line 1: unknown or repeated column {shown(name)}; known, each once: {', '.join(columns)}"
            )
    if names != columns:
        raise Error(
            f"{path}, line 1: received the columns {one_line(', '.join(names)) or 'none'}; write {', '.join(columns)}"
        )


def _row(cells: list[str], columns: list[str], kind: type[Any], where: str, expected: Mapping[str, str]) -> Any:
    if len(cells) != len(columns):
        raise Error(f"{where}: expected {len(columns)} values, received {len(cells)}; quote values that hold commas")
    filled = {name: cell.strip() for name, cell in zip(columns, cells, strict=True) if cell.strip()}
    return validated(kind, filled, where, expected=expected)
