"""What a data set is, and `batch(step)`: a pure function of (seed, step).

A resumed run therefore sees exactly the batches that the uninterrupted one would have seen, on any number of workers.
"""

from typing import NamedTuple, Protocol

import numpy as np

from capsrepro.data import hashing

Images = np.ndarray
Labels = np.ndarray

_DISTORTION = 1  # what a generator is for; 0 was the order of a pass


class Batch(NamedTuple):
    """Examples side by side. T is the number of digits in an image: one, and two in MultiMNIST."""

    images: Images  # (B, H, W, D) float32, in [0, 1] or standardised
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


class InMemory:
    """Images in memory, one byte a value, one label each; a batch is made when it is asked for.

    A data set derives from it and says what a test and what training sees of them.
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
        """A batch that has these `pixels`, float32 `(B, H, W, D)`, both to look at and to draw."""
        return Batch(pixels, self.labels[indices, None], pixels[:, None])


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
    """Which examples stand at the places `start` to `stop` of the endless sequence: int64 `(stop - start,)`.

    Each pass over the `size` examples is another permutation of them, held by no array: 60 million cost as much as 60.
    """
    pieces = []
    while start < stop:
        passes, place = divmod(start, size)
        places = np.arange(place, min(size, place + stop - start))
        pieces.append(hashing.shuffled(("order", seed, passes), places, size))
        start += len(places)
    return np.concatenate(pieces)


def shifted(images: Images, shifts: np.ndarray) -> Images:
    """Moves each image by its own shift; zeros come in at the edge (as in section 5: "shifted by up to 2 pixels").

    Args:
        images: `(B, H, W, D)`, any dtype.
        shifts: int `(B, 2)`, rows down and columns to the right; at most H and W.

    Returns:
        Array of the shape and dtype of `images`.
    """
    count, height, width, depth = images.shape
    reach = int(np.abs(shifts).max(initial=0))
    # A moved image is cut out of the padded one as one piece of memory, whole rows that are trimmed: three times as
    # fast as cutting out a rectangle. The piece may run on by `2 * reach` pixels: hence one more row below.
    padded = np.zeros((count, height + 2 * reach + 1, width + 2 * reach, depth), images.dtype)
    padded[:, reach : reach + height, reach : reach + width] = images
    row = (width + 2 * reach) * depth
    starts = (reach - shifts[:, 0]) * row + (reach - shifts[:, 1]) * depth
    pieces = np.lib.stride_tricks.sliding_window_view(padded.reshape(count, -1), height * row, axis=1)
    moved: Images = pieces[np.arange(count), starts].reshape(count, height, -1, depth)
    return moved[:, :, :width]


def unit(images: Images) -> Images:
    """Bytes to float32 in [0, 1], as the released reader does: times float32(1/255)."""
    return images.astype(np.float32) * np.float32(1.0 / 255.0)
