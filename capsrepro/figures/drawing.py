"""What all figures share: one style, sheets of small images in rows, and files that are the same bytes each time.

Everything is drawn on `Figure` objects; matplotlib's pyplot, which keeps figures and a backend for the whole process,
is never imported.
"""

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from capsrepro.core import files

DPI = 100
WIDTH = 800  # pixels of a sheet: a forge shows it at this size
FIRST, SECOND = "#ff9d3c", "#4db8ff"  # the two digits of a pair: told apart by those who do not see red and green

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that it is there on any machine
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # letters that can be searched and edited
}
# What would say when and by what a file was made.
_METADATA = {".png": {"Software": None}, ".pdf": {"Creator": None, "Producer": None, "CreationDate": None}}

_MARGIN = 8  # pixels, as all that follow
_TITLE, _CAPTION, _LINE = 26, 20, 14
_GAP = 10  # between rows
_NOTE = 122  # letters in a line of the note
_INK, _PALE = "#1a1a1a", "#555555"


class Row(NamedTuple):
    """Images side by side."""

    images: np.ndarray  # (N, H, W), or (N, H, W, 3) in [0, 1]
    texts: Sequence[str]  # under each image, a line or more
    caption: str = ""  # over the row
    span: tuple[float, float] = (0.0, 1.0)  # the grey values that are drawn black and white
    colour: str = "white"  # what is drawn instead of white


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults and our style, whatever a user's matplotlibrc says; also a decorator.

    A text takes its font when it is made and again when it is drawn, so that both must happen under it.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for name, value in _STYLE.items():
            matplotlib.rcParams[name] = value
        yield


@style()
def sheet(title: str, note: str, rows: Sequence[Row], *, columns: int = 8) -> Figure:
    """Rows of images, each enlarged by a whole number, so that every pixel of it is a square of the same size.

    Args:
        title: in the first line.
        note: what one has to know to read the sheet; wrapped.
        rows: from top to bottom; there is an axes for each image, in reading order.
        columns: how many images fit side by side; a row may have fewer.

    Returns:
        A figure 800 pixels wide, as high as needed.

    Raises:
        ValueError: a row has more images than columns, or not a text for each image.
    """
    pitch = (WIDTH - 2 * _MARGIN) / columns
    lines = textwrap.wrap(note, _NOTE)
    heights = [_height(row, pitch) for row in rows]
    top = _MARGIN + _TITLE + _LINE * len(lines) + _GAP
    total = top + sum(heights) + _MARGIN
    figure = Figure(figsize=(WIDTH / DPI, total / DPI), dpi=DPI, facecolor="white")
    _write(figure, [title], _MARGIN, _MARGIN, size=12, weight="bold")
    _write(figure, lines, _MARGIN, _MARGIN + _TITLE, size=8.5, color=_PALE)
    for row, height in zip(rows, heights, strict=True):
        if len(row.images) > columns:
            raise ValueError(f"row {row.caption!r}: expected at most {columns} images, received {len(row.images)}")
        _draw_row(figure, row, top, pitch)
        top += height
    return figure


def save(figure: Figure, *paths: Path) -> None:
    """Writes a figure to each of the paths, .png or .pdf, whole or not at all; the same figure gives the same bytes."""
    for path in paths:
        pixels: dict[str, Any] = {"pil_kwargs": {"optimize": True}} if path.suffix == ".png" else {}
        with style(), files.replacing(path) as temporary:
            figure.savefig(temporary, dpi=DPI, metadata=_METADATA[path.suffix], **pixels)


def shades(colour: str) -> LinearSegmentedColormap:
    """From black to a colour."""
    return LinearSegmentedColormap.from_list(f"black to {colour}", ["black", colour])


def _zoom(row: Row, pitch: float) -> int:
    """How many pixels of the sheet a pixel of the image is wide, two pixels being left between images."""
    side: int = max(row.images.shape[1:3])
    return max(1, int(pitch - 2) // side)


def _height(row: Row, pitch: float) -> int:
    lines = max(len(text.splitlines()) for text in row.texts)
    image: int = _zoom(row, pitch) * row.images.shape[1]
    return _CAPTION * bool(row.caption) + image + 2 + _LINE * lines + _GAP


def _draw_row(figure: Figure, row: Row, top: float, pitch: float) -> None:
    if row.caption:
        _write(figure, [row.caption], _MARGIN, top, size=9, color=_INK)
        top += _CAPTION
    height, width = (_zoom(row, pitch) * side for side in row.images.shape[1:3])
    for place, (image, text) in enumerate(zip(row.images, row.texts, strict=True)):
        middle = _MARGIN + pitch * (place + 0.5)
        axes = _axes(figure, int(middle - width / 2), int(top), width, height)
        axes.imshow(image, shades(row.colour), vmin=row.span[0], vmax=row.span[1], interpolation="nearest")
        _write(figure, text.splitlines(), middle, top + height + 2, size=8.5, color=_INK, ha="center")


def _axes(figure: Figure, left: int, top: int, width: int, height: int) -> Axes:
    """An axes without ticks or frame that covers exactly these pixels."""
    across, down = (float(side) * DPI for side in figure.get_size_inches())
    axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    axes.set_axis_off()
    return axes


def _write(figure: Figure, lines: Sequence[str], left: float, top: float, **properties: Any) -> None:
    """Lines at even distances, which those of one text do not have where a letter is higher than others."""
    across, down = (float(side) * DPI for side in figure.get_size_inches())
    for place, line in enumerate(lines):
        figure.text(left / across, 1 - (top + _LINE * place) / down, line, va="top", **properties)
