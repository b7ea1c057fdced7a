"""What a report is made of before it becomes Markdown or a page: sections of text, tables and figures.

Text may have `code` and *emphasis*; what comes from files stands in cells, which are shown as they are.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from capsrepro.report.figure_files import FigureFile

_NUMBERS = re.compile(r"([+-]?\d+(\.\d+)?(e[+-]?\d+)?( to | ± |/|$))+")  # `3.34`, `1.73 to 2.28`, `334/10000`
_SHORT = 12  # of a hash; the whole of it stands in the file


@dataclasses.dataclass(frozen=True)
class Cell:
    """Text, and perhaps the file that it leads to, from the folder of the report."""

    text: str
    link: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Lines of as many cells as there are columns. `alignment` is `left` or `right` for each column."""

    columns: Sequence[str]
    lines: Sequence[Sequence[Cell]]
    alignment: Sequence[str]
    badges: str = ""  # the column whose words are marked with colour
    sortable: bool = True


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading; then text, a table, figures, and notes, each of which may be absent."""

    id: str
    title: str
    text: Sequence[str] = ()
    table: Table | None = None
    figures: Sequence[FigureFile] = ()
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Report:
    """All of it. `verdicts` counts each word over the paper's numbers, in the order in which they come."""

    title: str
    text: Sequence[str]
    verdicts: Mapping[str, int]
    sections: Sequence[Section]


def aligned(columns: Sequence[str], lines: Sequence[Sequence[Cell]]) -> Table:
    """A table whose columns of numbers are aligned to the right."""
    alignment = []
    for index in range(len(columns)):
        texts = [line[index].text for line in lines if line[index].text]
        alignment.append("right" if texts and all(map(_NUMBERS.fullmatch, texts)) else "left")
    return Table(columns, lines, alignment)


def text_of(value: Any) -> str:
    """A value of a JSON file; what was divided is shown with at most four decimals, as the files of ours have it."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    return str(round(value, 4)) if isinstance(value, float) else str(value)


def short(digest: str) -> str:
    """The beginning of a hash."""
    return digest[:_SHORT]


def commit(revision: str, dirty: bool | None) -> str:
    """The beginning of a commit's, and a `+` if tracked files differed from it."""
    return short(revision) + ("+" if dirty else "")
