"""Renders the report as Markdown for code hosts: pipe tables, figures as relative links."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import tabulate

from capsrepro.report.document import Cell, Report, Section, Table
from capsrepro.report.figure_files import FigureFile

# Markdown leaves an underscore within a word as it is, so names need no escape.
_SPECIAL = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def render(report: Report) -> str:
    """Renders the whole file; the table of verdicts has the same cells as table.md."""
    summary = " ".join(
        f"Of the paper's {sum(counts.values())} {what}: {_counted(counts)}."
        for what, counts in (("claims", report.claims), ("numbers", report.verdicts))
        if counts
    )
    page = "The same as one page, with forest plots, training curves and sortable rows: [report.html](report.html)."
    others = ", ".join(f"[{name}]({way}/report.md)" for name, way in report.scales.items() if way)
    blocks = [f"# {escaped(report.title)}", " ".join(report.summary), *report.text, summary, page]
    blocks += [f"Other scales: {others}."] if others else []
    for section in report.sections:
        blocks += _section(section)
    return "\n\n".join(blocks) + "\n"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items())


def escaped(text: str) -> str:
    """Escapes text, so that Markdown shows it literally, on one line."""
    whole = " ".join(text.split())
    for character, entity in _ENTITIES.items():
        whole = whole.replace(character, entity)
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", whole)


def _section(section: Section) -> Iterator[str]:
    yield f"## {escaped(section.title)}"
    yield from section.text
    if section.drawn:
        yield f"The drawings are in [report.html](report.html#{section.id})."
    if section.table is not None and section.table.lines:
        yield _table(section.table)
    for picture in section.figures:
        yield from _picture(picture)
    yield from section.notes


def _table(table: Table) -> str:
    return tabulate.tabulate(
        [[_cell(cell) for cell in line] for line in table.lines],
        headers=[escaped(name) for name in table.columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=table.alignment,
    )


def _cell(cell: Cell) -> str:
    return f"[{escaped(cell.text)}]({quote(cell.link)})" if cell.link else escaped(cell.text)


def _picture(picture: FigureFile) -> Iterator[str]:
    yield f"### {escaped(picture.title)}"
    yield f"![{escaped(picture.title)}]({quote(picture.path)})"
    vector = ", ".join(f"[{path.rpartition('.')[2].upper()}]({quote(path)})" for path in picture.vector)
    caption = [escaped(picture.caption), f"As a vector drawing: {vector}." if vector else ""]
    if any(caption):
        yield " ".join(filter(None, caption))
