"""The interface of data sets, and the stream of training batches.

A batch is a pure function of (seed, step). A resumed run therefore gets the same batches as an uninterrupted one, with
any number of workers.
"""

from typing import NamedTuple, Protocol

import numpy as np

from capsrepro.data import hashing

Images = np.ndarray
Labels = np.ndarray

_DISTORTION = 1  # the purpose of a generator; 0 was used for the order of a pass


class Batch(NamedTuple):
    """A batch of B examples. T is the number of digits in an image: one, or two in MultiMNIST."""

    images: Images  # (B, H, W, D) float32, in [0, 1] or standardised
    labels: Labels  # (B, T) int32
    targets: Images  # (B, T, H, W, D) float32: the target of the reconstruction of each label


class Dataset(Protocol):
    """Interface of a data set with access by index."""

    image_shape: tuple[int, int, int]  # height, width, depth
    digits: int  # labels per image
    classes: int
    name: str  # includes the split, for progress and provenance
    sha256: str  # of the bytes that it was read from

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> Batch:
        """The examples at these indices, as used in tests."""
        ...

    def distorted(self, indices: np.ndarray, generator: np.random.Generator) -> Batch:
        """The examples at these indices, distorted for training with random numbers from `generator` only."""
        ...


class InMemory:
    """Base class of data sets in memory, with one byte per value and one label per image.

    Subclasses implement `batch` for tests and `distorted` for training, which compute batches on demand.
    """

    digits = 1

    def __init__(self, images: Images, labels: Labels, *, name: str, sha256: str) -> None:
        """Takes uint8 `images` `(N, H, W, D)` and integer `labels` `(N,)`."""
        self.images = images
        self.labels = labels.astype(np.int32)
        self.name = name
        self.sha256 = sha256

    def __len__(self) -> int:
        return len(self.images)

    def _batch(self, pixels: Images, indices: np.ndarray) -> Batch:
        """A batch with `pixels`, float32 `(B, H, W, D)`, both as images and as reconstruction targets."""
        return Batch(pixels, self.labels[indices, None], pixels[:, None])


class Stream:
    """The endless sequence of training batches.

    Each pass over the data is a permutation of it. A batch may span the end of one pass and the start of the next, so
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
    """A counter-based random generator; `number` is the high word of Philox's counter, so streams never overlap."""
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, 0, number]))


def order(seed: int, start: int, stop: int, size: int) -> np.ndarray:
    """The indices of the examples at positions `start` to `stop` of the endless sequence: int64 `(stop - start,)`.

    Each pass is a different permutation of the `size` examples. It is never stored, so 60 million examples cost as much
    as 60.
    """
    pieces = []
    while start < stop:
        passes, place = divmod(start, size)
        places = np.arange(place, min(size, place + stop - start))
        pieces.append(hashing.shuffled(("order", seed, passes), places, size))
        start += len(places)
    return np.concatenate(pieces)


def shifted(images: Images, shifts: np.ndarray) -> Images:
    """Shifts each image by its own offset and fills with zeros (section 5: "shifted by up to 2 pixels").

    Args:
        images: `(B, H, W, D)`, any dtype.
        shifts: int `(B, 2)`, rows down and columns to the right; at most H and W.

    Returns:
        Array of the shape and dtype of `images`.
    """
    count, height, width, depth = images.shape
    max_shift = int(np.abs(shifts).max(initial=0))
    # A shifted image is cut out of the padded one as one contiguous block of whole rows, which are then trimmed. This
    # is three times as fast as cutting out a rectangle. The block may extend `2 * max_shift` pixels beyond the last
    # row, hence one more row of padding below.
    padded = np.zeros((count, height + 2 * max_shift + 1, width + 2 * max_shift, depth), images.dtype)
    padded[:, max_shift : max_shift + height, max_shift : max_shift + width] = images
    row = (width + 2 * max_shift) * depth
    starts = (max_shift - shifts[:, 0]) * row + (max_shift - shifts[:, 1]) * depth
    pieces = np.lib.stride_tricks.sliding_window_view(padded.reshape(count, -1), height * row, axis=1)
    moved: Images = pieces[np.arange(count), starts].reshape(count, height, -1, depth)
    return moved[:, :, :width]


def unit(images: Images) -> Images:
    """Converts bytes to float32 in [0, 1] by multiplying with float32(1/255), as the released reader does."""
    return images.astype(np.float32) * np.float32(1.0 / 255.0)
