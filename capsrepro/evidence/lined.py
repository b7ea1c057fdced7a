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
    """A difference with its sign and two decimals, more if else it would seem to be 0; empty if there is none."""
    if value is None:
        return ""
    value = round(value, 4) + 0.0  # never -0.00
    return f"{value:+.1g}" if 0 < abs(value) < 0.005 else f"{value:+.2f}"
