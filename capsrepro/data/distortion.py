"""How training images are cropped, flipped and lit, and how all are standardised: whole batches, one draw an image.

The released code uses these for CIFAR-10 and smallNORB. Lighting is in byte units (pixels 0-255) and does not clip.
"""

import math

import numpy as np

from capsrepro.data.batches import Images

BRIGHTNESS = 63.0  # training adds up to so much to an image, or takes it away
CONTRAST = (0.2, 1.8)  # training multiplies the contrast of an image by a factor from this range


def cropped(images: Images, size: int, places: np.ndarray | None = None) -> Images:
    """Cuts a square out of each image.

    Args:
        images: `(B, H, W, D)`, any dtype.
        size: the square's side in pixels, at most H and W.
        places: int `(B, 2)`, each square's first row and column, 0 to H - size and 0 to W - size; None: the centre.

    Returns:
        `(B, size, size, D)` of the dtype of `images`; a view where it is the centre.
    """
    count, height, width, depth = images.shape
    if places is None:
        top, left = (height - size) // 2, (width - size) // 2
        return images[:, top : top + size, left : left + size]
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size, depth), axis=(1, 2, 3))
    squares: Images = windows[np.arange(count), places[:, 0], places[:, 1], 0]  # (B, size, size, D)
    return squares


def flipped(images: Images, flips: np.ndarray) -> Images:
    """Mirrors those images left to right for which `flips`, bool `(B,)`, is true; `images` are `(B, H, W, D)`."""
    mirrored = images.copy()
    mirrored[flips] = images[flips, :, ::-1]
    return mirrored


def brightness(images: Images, deltas: np.ndarray) -> Images:
    """Adds to each float32 image `(B, H, W, D)` its own number of `deltas` `(B,)`.

    Where standardisation follows, it takes this out again; it is here because the released code does it.
    """
    changed: Images = images + _per_image(deltas)
    return changed


def contrast(images: Images, factors: np.ndarray) -> Images:
    """Scales each float32 image `(B, H, W, D)` by its own number of `factors` `(B,)` about the mean of each channel."""
    rows = images.mean(axis=1, keepdims=True)  # (B, 1, W, D); one axis at a time is ten times as fast as both at once
    means = rows.mean(axis=2, keepdims=True)  # (B, 1, 1, D)
    changed: Images = (images - means) * _per_image(factors) + means
    return changed


def standardised(images: Images) -> Images:
    """Gives each image mean zero and variance one, over all its pixels and channels together.

    Args:
        images: float32 `(B, H, W, D)`.

    Returns:
        float32 of that shape: (x - mean) / max(deviation, 1 / sqrt(n)) with n = H W D. The bound keeps an image of one
        colour finite: it becomes zero.
    """
    smallest = 1.0 / math.sqrt(math.prod(images.shape[1:]))
    centred = images - images.mean(axis=(1, 2, 3), keepdims=True)
    deviations = np.sqrt(np.square(centred).mean(axis=(1, 2, 3), keepdims=True))  # (B, 1, 1, 1)
    changed: Images = centred / np.maximum(deviations, smallest)
    return changed


def _per_image(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(np.float32)[:, None, None, None]
