"""Crops, flips, brightness and contrast for training, and standardisation, on whole batches of NumPy or JAX arrays.

The released code uses these for CIFAR-10 and smallNORB. Each image has its own random values. Brightness and contrast
work on pixels in 0-255 and do not clip.
"""

import math

import numpy as np

from capsrepro.data import windows
from capsrepro.data.batches import Images

BRIGHTNESS = 63.0  # largest change of brightness in training, either way
CONTRAST = (0.2, 1.8)  # range of the contrast factor in training


def cropped(images: Images, size: int, places: np.ndarray | None = None) -> Images:
    """Cuts a square out of each image.

    Args:
        images: `(B, H, W, D)`, any dtype.
        size: side of the square in pixels, at most H and W.
        places: int `(B, 2)`, first row and column of each square, 0 to H - size and 0 to W - size; None: the centre.

    Returns:
        `(B, size, size, D)` of the dtype of `images`; a view if `places` is None.
    """
    count, height, width, depth = images.shape
    if places is None:
        top, left = (height - size) // 2, (width - size) // 2
        return images[:, top : top + size, left : left + size]
    row = width * depth
    # As in `batches.shifted`: blocks of whole rows, which may extend beyond the last row, and are then trimmed.
    rows = windows.padded(images, 0, 1, 0).reshape(count, -1)
    places = places.astype("int32")
    cut = windows.blocks(rows, places[:, 0] * row + places[:, 1] * depth, size * row)
    squares: Images = cut.reshape(count, size, width, depth)[:, :, :size]
    return squares


def flipped(images: Images, flips: np.ndarray) -> Images:
    """Flips images `(B, H, W, D)` left to right where `flips`, bool `(B,)`, is true."""
    mirrored: Images = images.__array_namespace__().where(flips[:, None, None, None], images[:, :, ::-1], images)
    return mirrored


def brightness(images: Images, deltas: np.ndarray) -> Images:
    """Adds its own offset of `deltas` `(B,)` to each float32 image `(B, H, W, D)`.

    A following standardisation cancels this; it is here because the released code does it.
    """
    changed: Images = images + _per_image(deltas)
    return changed


def contrast(images: Images, factors: np.ndarray) -> Images:
    """Scales each float32 image `(B, H, W, D)` by its own factor of `factors` `(B,)` about the mean of each channel."""
    rows = images.mean(axis=1, keepdims=True)  # (B, 1, W, D); one axis at a time is ten times as fast as both at once
    means = rows.mean(axis=2, keepdims=True)  # (B, 1, 1, D)
    changed: Images = (images - means) * _per_image(factors) + means
    return changed


def standardised(images: Images) -> Images:
    """Scales each image to mean zero and variance one, over all its pixels and channels.

    Args:
        images: float32 `(B, H, W, D)`.

    Returns:
        float32 of the same shape: (x - mean) / max(deviation, 1 / sqrt(n)) with n = H W D. The lower bound keeps images
        of a single colour finite: they become zero.
    """
    smallest = 1.0 / math.sqrt(math.prod(images.shape[1:]))
    centred = images - images.mean(axis=(1, 2, 3), keepdims=True)
    arrays = images.__array_namespace__()
    deviations = arrays.sqrt(arrays.square(centred).mean(axis=(1, 2, 3), keepdims=True))  # (B, 1, 1, 1)
    changed: Images = centred / arrays.maximum(deviations, smallest)
    return changed


def _per_image(numbers: np.ndarray) -> np.ndarray:
    per_image: np.ndarray = numbers.astype(np.float32)[:, None, None, None]
    return per_image
