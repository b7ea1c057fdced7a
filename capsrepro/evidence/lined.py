"""Tables of text in Markdown, whose cells may hold anything."""

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
