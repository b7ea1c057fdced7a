"""What a data set is, and `batch(step)`: a pure function of (seed, step).

A resumed run therefore sees exactly the batches that the uninterrupted one would have seen, on any number of workers.
"""

import functools
from typing import NamedTuple, Protocol

import numpy as np

Images = np.ndarray
Labels = np.ndarray

# What a generator is for: streams of one seed that must not overlap.
_ORDER, _DISTORTION = 0, 1


class Batch(NamedTuple):
    """Examples side by side. T is the number of digits in an image: one, and two in MultiMNIST."""

    images: Images  # (B, H, W, D) float32 in [0, 1]
    labels: Labels  # (B, T) int32
    targets: Images  # (B, T, H, W, D) float32: what the decoder has to draw for each label


class Dataset(Protocol):
    """Examples that can be asked for by number."""

    image_shape: tuple[int, int, int]  # height, width, depth
    digits: int  # labels an image has
    classes: int
    name: str  # with the split, for progress and provenance
    sha256: str  # of the bytes it was read from

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> Batch:
        """The examples of these numbers as a test sees them."""
        ...

    def distorted(self, indices: np.ndarray, generator: np.random.Generator) -> Batch:
        """The examples of these numbers as training sees them; every random draw comes from `generator`."""
        ...


class Stream:
    """The endless sequence of training batches.

    One pass over the data is a permutation of it; a batch may hold the end of one pass and the start of the next, so
    that all batches have the same size.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed

    def batch(self, step: int) -> Batch:
        """Batch number `step`, counted from zero."""
        first = step * self.batch_size
        indices = order(self.seed, first, first + self.batch_size, len(self.dataset))
        return self.dataset.distorted(indices, generator(self.seed, _DISTORTION, step))


def generator(seed: int, purpose: int, number: int) -> np.random.Generator:
    """A counter-based generator for one draw: `number` is the high word of Philox's counter, so draws never overlap."""
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, 0, number]))


def order(seed: int, start: int, stop: int, size: int) -> np.ndarray:
    """Which examples stand at the places `start` to `stop` of the endless sequence: int64 `(stop - start,)`."""
    pieces = []
    while start < stop:
        passes, place = divmod(start, size)
        piece = _permutation(seed, passes, size)[place : place + stop - start]
        pieces.append(piece)
        start += len(piece)
    return np.concatenate(pieces)


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, passes: int, size: int) -> np.ndarray:
    permutation = generator(seed, _ORDER, passes).permutation(size)
    permutation.flags.writeable = False  # it is shared by all who ask
    return permutation


def shifted(images: Images, shifts: np.ndarray) -> Images:
    """Moves each image by its own shift; zeros come in at the edge (as in section 5: "shifted by up to 2 pixels").

    Args:
        images: `(B, H, W, D)`, any dtype.
        shifts: int `(B, 2)`, rows down and columns to the right; at most H and W.

    Returns:
        Array of the shape and dtype of `images`.
    """
    count, height, width, _ = images.shape
    reach = int(np.abs(shifts).max(initial=0))
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    picked = windows[np.arange(count), reach - shifts[:, 0], reach - shifts[:, 1]]  # (B, D, H, W)
    return np.moveaxis(picked, 1, -1)


def unit(images: Images) -> Images:
    """Bytes to float32 in [0, 1], as the released reader does: times float32(1/255)."""
    return images.astype(np.float32) * np.float32(1.0 / 255.0)
