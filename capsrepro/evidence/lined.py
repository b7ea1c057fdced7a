"""Tables of text for Markdown and LaTeX, whose cells may hold anything."""

from collections.abc import Sequence

import tabulate

from capsrepro.core import text


def table(lines: Sequence[Sequence[str]], columns: Sequence[str], style: str, alignment: Sequence[str]) -> str:
    """Formats a table; the cells are shown literally, each on one line.

    Args:
        lines: the cells of each line.
        columns: the heads.
        style: `pipe`, which is Markdown, or `latex_booktabs`, for which tabulate escapes the cells.
        alignment: `left` or `right` of each column.
    """
    literal = text.markdown if style == "pipe" else text.whole_line
    cells = [[literal(cell) for cell in line] for line in lines]
    return tabulate.tabulate(
        cells, headers=list(columns), tablefmt=style, disable_numparse=True, colalign=list(alignment)
    )
