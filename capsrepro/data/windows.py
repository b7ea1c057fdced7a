"""Pads images and cuts blocks out of them: the two operations that NumPy needs a faster way for than other libraries.

All else that renders batches is written once, see `batches`.
"""

from typing import Any

import numpy as np


def padded(images: Any, above: int, below: int, sides: int) -> Any:
    """Adds rows and columns of zeros to images `(B, H, W, D)` of NumPy or JAX; `sides` is for left and right each."""
    if not isinstance(images, np.ndarray):
        arrays = images.__array_namespace__()
        return arrays.pad(images, ((0, 0), (above, below), (sides, sides), (0, 0)))
    count, height, width, depth = images.shape  # NumPy's own padding takes twice as long
    larger = np.zeros((count, above + height + below, width + 2 * sides, depth), images.dtype)
    larger[:, above : above + height, sides : sides + width] = images
    return larger


def blocks(rows: Any, starts: Any, length: int) -> Any:
    """Cuts `length` values out of each row, from its own start on.

    Args:
        rows: `(B, N)` of NumPy or JAX, any dtype.
        starts: integers `(B,)` in 0 to N - length.
        length: number of values.

    Returns:
        `(B, length)` of the library and dtype of `rows`.
    """
    if isinstance(rows, np.ndarray):  # indexing each value, as below, takes ten times as long
        return np.lib.stride_tricks.sliding_window_view(rows, length, axis=1)[np.arange(len(rows)), starts]
    arrays = rows.__array_namespace__()
    return arrays.take_along_axis(rows, starts[:, None] + arrays.arange(length, dtype="int32"), axis=1)
