"""Finds the ink of a handwritten digit: what stands out from its background, be that even or in shadow."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

FAINTEST = 0.1  # smallest contrast of ink, as a share of the range from black to white
UNEVEN = 0.1  # a background whose edge spreads over more than this share is not even
DUST = 0.02  # a spot of less than this share of the largest one's pixels is none of the digit's
_SHADE = 0.15  # the edge of a shadow may leave less than this share of its light
_SMALL = 64  # pixels of the longer side of the copy on which light and dark are told apart
_DARK = 0.02  # added to both sides of a ratio: noise in the darkest parts is no ink
_EVERYWHERE = np.ones((3, 3), bool)  # neighbours, also across corners


class Ink(NamedTuple):
    """How much each pixel stands out: float `(H, W)`, 0 for background; and how it was found."""

    strength: np.ndarray
    inverted: bool  # the background is light
    shadowed: bool  # the background is uneven


def find(grey: np.ndarray) -> Ink:
    """The ink of a grey picture.

    An even background is the median of the pixels on the edge. The ink is then the difference from it, and less than a
    tenth of the largest difference is noise. A background whose edge is uneven is found anew around each pixel, by
    closing all that is narrower than half the picture (opening, where ink is light): this keeps the edges of shadows.
    Ink is then what darkens its own background, in a share of it, by at least half as much as the strongest does.

    Args:
        grey: float `(H, W)` in [0, 1].
    """
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if np.subtract(*np.quantile(edge, [0.95, 0.05])) > UNEVEN:
        return _in_shadow(grey)
    background = float(np.median(edge))
    inverted = background - grey.min() > grey.max() - background
    strength = np.maximum(background - grey if inverted else grey - background, 0.0)
    return Ink(np.where(strength < FAINTEST * strength.max(), 0.0, strength), bool(inverted), shadowed=False)


def digits_in(strength: np.ndarray) -> int:
    """How many digits the ink seems to be: spots at least half as tall as the tallest, none above or below another.

    Spots that share more than a quarter of the narrower one's columns, and some rows, are parts of one digit.
    """
    spots, _ = ndimage.label(strength > strength.max() / 2, _EVERYWHERE)
    boxes = ndimage.find_objects(spots)
    tallest = max(rows.stop - rows.start for rows, _ in boxes)
    digits: list[tuple[slice, slice]] = []
    for rows, columns in boxes:
        if 2 * (rows.stop - rows.start) >= tallest and not any(_overlap((rows, columns), other) for other in digits):
            digits.append((rows, columns))
    return len(digits)


def _overlap(one: tuple[slice, slice], other: tuple[slice, slice]) -> bool:
    shared = [min(a.stop, b.stop) - max(a.start, b.start) for a, b in zip(one, other, strict=True)]
    narrower = min(part[1].stop - part[1].start for part in (one, other))
    return bool(shared[0] > 0 and 4 * shared[1] > narrower)


def _in_shadow(grey: np.ndarray) -> Ink:
    inverted = _is_light(grey)
    if min(grey.shape) > _SMALL:
        grey = ndimage.median_filter(grey, size=3)  # single pixels, as of dithering, are no ink
    window = max(3, min(grey.shape) // 2)
    beyond = np.pad(grey, window, mode="edge")  # a shadow goes on beyond the picture, so that none ends in a corner
    closed = (ndimage.grey_closing if inverted else ndimage.grey_opening)(beyond, size=(window, window))
    background = closed[window:-window, window:-window]
    low, high = (grey, background) if inverted else (background, grey)
    strength = 1.0 - (np.minimum(low, high) + _DARK) / (high + _DARK)
    strongest = np.quantile(strength, 0.999)
    spots, count = ndimage.label(strength > max(strongest / 2, _SHADE), _EVERYWHERE)
    if not count:
        return Ink(np.zeros_like(strength), inverted, shadowed=True)
    sizes = np.bincount(spots.ravel())
    sizes[0] = 0
    kept = (sizes >= DUST * sizes.max())[spots] & (spots > 0)
    around = ndimage.binary_dilation(kept, _EVERYWHERE, iterations=max(1, min(grey.shape) // 200))
    return Ink(np.where(around, strength, 0.0), inverted, shadowed=True)


def _is_light(grey: np.ndarray) -> bool:
    """Whether the background is lighter than the ink, by the sign of what stands out most from its surroundings.

    Differences are of logarithms, in which the edge of a shadow is less than a stroke of ink.
    """
    step = -(-max(grey.shape) // _SMALL)
    height, width = (side // step * step for side in grey.shape)
    small = grey[: height or None, : width or None]
    if step > 1 and height and width:
        small = small.reshape(height // step, step, width // step, step).mean(axis=(1, 3))
    tones = np.log(small + 2 * _DARK)
    around = ndimage.median_filter(tones, size=max(3, min(small.shape) // 2), mode="nearest")
    return bool(((tones - around) ** 3).sum() < 0)
