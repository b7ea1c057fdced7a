"""The document model of a report: sections of text, tables and figures, independent of the output format.

Texts may contain `code` and *emphasis*. Values from files belong in cells, which are shown without interpretation.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from capsrepro.report.curves import Curves
from capsrepro.report.digits import WrongDigit
from capsrepro.report.figure_files import FigureFile
from capsrepro.report.forest import Forest

_NUMBERS = re.compile(r"([+-]?\d+(\.\d+)?(e[+-]?\d+)?( to | ± |/|$))+")  # `3.34`, `1.73 to 2.28`, `334/10000`
_SHORT = 12  # characters shown of a hash; the files hold all of it


@dataclasses.dataclass(frozen=True)
class Cell:
    """A table cell: text, and optionally a link, relative to the folder of the report."""

    text: str
    link: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table. Each line has one cell per column; `alignment` is `left` or `right` for each column."""

    columns: Sequence[str]
    lines: Sequence[Sequence[Cell]]
    alignment: Sequence[str]
    badges: str = ""  # the column whose words are coloured
    sortable: bool = True


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading with optional text, drawings, table, figures and notes, shown in this order.

    The drawings (`forests`, `curves` and `digits`) are on the page only; Markdown says so.
    """

    id: str
    title: str
    text: Sequence[str] = ()
    table: Table | None = None
    figures: Sequence[FigureFile] = ()
    notes: Sequence[str] = ()
    forests: Sequence[Forest] = ()
    curves: Sequence[Curves] = ()
    digits: Sequence[WrongDigit] = ()

    @property
    def drawn(self) -> bool:
        """Whether the page has drawings that Markdown has not."""
        return bool(self.forests or self.curves or self.digits)


@dataclasses.dataclass(frozen=True)
class Report:
    """The whole report. `claims` and `verdicts` count each verdict over the paper's claims and over its numbers.

    Both are in order of first occurrence; there may be no claims. `summary` holds the sentences that sum it up, and
    `scales` the names of all scales with the folder of each one's report, relative to this one's; its own is empty.
    """

    title: str
    summary: Sequence[str]
    text: Sequence[str]
    scales: Mapping[str, str]
    claims: Mapping[str, int]
    verdicts: Mapping[str, int]
    sections: Sequence[Section]


def aligned(columns: Sequence[str], lines: Sequence[Sequence[Cell]]) -> Table:
    """Builds a table whose numeric columns are aligned to the right."""
    alignment = []
    for index in range(len(columns)):
        texts = [line[index].text for line in lines if line[index].text]
        alignment.append("right" if texts and all(map(_NUMBERS.fullmatch, texts)) else "left")
    return Table(columns, lines, alignment)


def text_of(value: Any) -> str:
    """Formats a value of a JSON file; floats get at most four decimals, like the percentages in the files."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    return str(round(value, 4)) if isinstance(value, float) else str(value)


def linked(path: str) -> str:
    """The path of a file as the address of a link; its name may be in any bytes."""
    return quote(path, errors="surrogateescape")


def short(digest: str) -> str:
    """The first characters of a hash."""
    return digest[:_SHORT]


def commit(revision: str, dirty: bool | None) -> str:
    """The first characters of a commit's hash, with a `+` if tracked files differed from the commit."""
    return short(revision) + ("+" if dirty else "")
