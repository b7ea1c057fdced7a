"""Renders the report as Markdown for code hosts: pipe tables, figures as relative links."""

from collections.abc import Iterator, Mapping

import tabulate

from capsrepro.core.text import markdown as escaped
from capsrepro.report.document import Cell, Report, Section, Table, linked
from capsrepro.report.figure_files import FigureFile


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
    return f"[{escaped(cell.text)}]({linked(cell.link)})" if cell.link else escaped(cell.text)


def _picture(picture: FigureFile) -> Iterator[str]:
    yield f"### {escaped(picture.title)}"
    yield f"![{escaped(picture.title)}]({linked(picture.path)})"
    vector = ", ".join(f"[{path.rpartition('.')[2].upper()}]({linked(path)})" for path in picture.vector)
    caption = [escaped(picture.caption), f"As a vector drawing: {vector}." if vector else ""]
    if any(caption):
        yield " ".join(filter(None, caption))
