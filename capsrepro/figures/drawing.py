"""Shared parts of all figures: one style, sheets of small images in rows, reproducible files.

Everything is drawn on `Figure` objects. matplotlib.pyplot is never imported, as it keeps global state.
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
WIDTH = 800  # pixels of a sheet; code hosts show this width unscaled
FIRST, SECOND = "#ff9d3c", "#4db8ff"  # the two digits of a pair; distinguishable with red-green colour blindness

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, hence available everywhere
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType: text can be searched and edited
}
# Removes the time and the program from the files, which would differ between machines.
_METADATA = {".png": {"Software": None}, ".pdf": {"Creator": None, "Producer": None, "CreationDate": None}}

_MARGIN = 8  # pixels
_TITLE, _CAPTION, _LINE = 26, 20, 14  # heights in pixels
_GAP = 10  # pixels between rows
_NOTE = 122  # characters in a line of the note
_INK, _PALE = "#1a1a1a", "#555555"


class Row(NamedTuple):
    """Images side by side."""

    images: np.ndarray  # (N, H, W), or (N, H, W, 3) in [0, 1]
    texts: Sequence[str]  # under each image, one or more lines
    caption: str = ""  # above the row
    span: tuple[float, float] = (0.0, 1.0)  # the grey values drawn as black and as white
    colour: str = "white"  # drawn in place of white


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Context manager or decorator that applies our style, independent of the user's matplotlibrc.

    Matplotlib looks up the font when a text is created and again when it is drawn, so both must happen in it.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for name, value in _STYLE.items():
            matplotlib.rcParams[name] = value
        yield


@style()
def sheet(title: str, note: str, rows: Sequence[Row], *, columns: int = 8) -> Figure:
    """Draws rows of images, each enlarged by an integer factor, so that all its pixels have the same size.

    Args:
        title: the first line.
        note: the explanation below the title; it is wrapped.
        rows: from top to bottom. Each image has its own axes, in reading order.
        columns: number of images that fit in a row; a row may have fewer.

    Returns:
        A figure 800 pixels wide, as high as needed.

    Raises:
        ValueError: a row has more images than columns, or the numbers of its texts and images differ.
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
    """Writes a figure atomically to each of the paths, .png or .pdf; equal figures give equal bytes."""
    for path in paths:
        pixels: dict[str, Any] = {"pil_kwargs": {"optimize": True}} if path.suffix == ".png" else {}
        with style(), files.replacing(path) as temporary:
            figure.savefig(temporary, dpi=DPI, metadata=_METADATA[path.suffix], **pixels)


def shades(colour: str) -> LinearSegmentedColormap:
    """The colour map from black to a colour."""
    return LinearSegmentedColormap.from_list(f"black to {colour}", ["black", colour])


def _zoom(row: Row, pitch: float) -> int:
    """The integer factor by which an image is enlarged, with two pixels left between images."""
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
    """Adds axes without ticks or frame that cover exactly these pixels."""
    across, down = (float(side) * DPI for side in figure.get_size_inches())
    axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    axes.set_axis_off()
    return axes


def _write(figure: Figure, lines: Sequence[str], left: float, top: float, **properties: Any) -> None:
    """Writes lines at equal distances; in one multi-line text the distance would depend on the letters."""
    across, down = (float(side) * DPI for side in figure.get_size_inches())
    for place, line in enumerate(lines):
        figure.text(left / across, 1 - (top + _LINE * place) / down, line, va="top", **properties)
