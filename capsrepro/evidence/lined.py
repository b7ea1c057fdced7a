"""Cells and tables of text: Markdown whose cells may hold anything, and numbers with their signs."""

from collections.abc import Sequence

import tabulate

from capsrepro.core import text


def table(lines: Sequence[Sequence[str]], columns: Sequence[str], alignment: Sequence[str]) -> str:
    """Formats a table; the cells are shown literally, each on one line.

    Args:
        lines: the cells of each line.
        columns: the heads.
        alignment: `left` or `right` of each column.
    """
    cells = [[text.markdown(cell) for cell in line] for line in lines]
    return tabulate.tabulate(
        cells, headers=list(columns), tablefmt="pipe", disable_numparse=True, colalign=list(alignment)
    )


def signed(value: float | None) -> str:
    """A difference with its sign and two decimals, and never -0.00; empty if there is none."""
    return "" if value is None else f"{round(value, 2) + 0.0:+.2f}"
