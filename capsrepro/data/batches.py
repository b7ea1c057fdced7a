"""The interface of data sets, and the stream of training batches.

A batch is a pure function of (seed, step). A resumed run therefore gets the same batches as an uninterrupted one, with
any number of workers.

A training batch is made in two parts. `draw` says on the host which examples it has and how they are distorted, in a
few bytes an example. `render` computes the pixels from these numbers and the stored images. It is written once for all
libraries that follow the array API standard: with NumPy it runs on the host, with JAX on the device. It therefore takes
its functions from the arrays themselves, with `__array_namespace__`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from capsrepro.data import hashing, windows

Images = np.ndarray
Labels = np.ndarray
Arrays = Mapping[str, Any]  # arrays by name, of NumPy or of JAX

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

    @property
    def stored(self) -> Arrays:
        """The arrays that `render` reads; a device keeps them during the whole training."""
        ...

    def draw(self, indices: np.ndarray, generator: np.random.Generator) -> Arrays:
        """What `render` needs to know of the training examples at these indices: arrays `(B, ...)`, some bytes each.

        Random numbers come from `generator` only.
        """
        ...

    def render(self, stored: Arrays, drawn: Arrays) -> Batch:
        """The training batch of `draw`, from `stored`; both are arrays of NumPy, or both of another library."""
        ...

    def distorted(self, indices: np.ndarray, generator: np.random.Generator) -> Batch:
        """The examples at these indices, distorted for training."""
        return self.render(self.stored, self.draw(indices, generator))


class InMemory(Dataset):
    """Base class of data sets in memory, with one byte per value and one label per image.

    Subclasses implement `batch` for tests and `render` for training; those that distort also extend `draw`.
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

    @property
    def stored(self) -> Arrays:
        """All images, uint8 `(N, H, W, D)`, and their labels, int32 `(N,)`."""
        return {"images": self.images, "labels": self.labels}

    def draw(self, indices: np.ndarray, generator: np.random.Generator) -> Arrays:
        """The number of each image, int32 `(B,)`."""
        return {"number": indices.astype(np.int32)}


def single(pixels: Images, labels: Labels) -> Batch:
    """A batch of one label `(B,)` per image; `pixels`, float32 `(B, H, W, D)`, are also the targets."""
    return Batch(pixels, labels[:, None], pixels[:, None])


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
        drawn = {name: array[0] for name, array in self.draws(step, step + 1).items()}
        return self.dataset.render(self.dataset.stored, drawn)

    def draws(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """What the batches `start` to `stop` are rendered from, see `Dataset.draw`: arrays `(stop - start, B, ...)`."""
        indices = order(self.seed, start * self.batch_size, stop * self.batch_size, len(self.dataset))
        drawn = [
            self.dataset.draw(
                indices[number * self.batch_size :][: self.batch_size], generator(self.seed, _DISTORTION, step)
            )
            for number, step in enumerate(range(start, stop))
        ]
        return {name: np.stack([one[name] for one in drawn]) for name in drawn[0]}


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


def shifted(images: Images, shifts: np.ndarray, limit: int | None = None) -> Images:
    """Shifts each image by its own offset and fills with zeros (section 5: "shifted by up to 2 pixels").

    Args:
        images: `(B, H, W, D)`, any dtype.
        shifts: integers `(B, 2)`, rows down and columns to the right; at most H and W.
        limit: an upper bound of the shifts; None: the largest of them, which needs NumPy arrays.

    Returns:
        Array of the shape and dtype of `images`.
    """
    count, height, width, depth = images.shape
    limit = int(np.abs(shifts).max(initial=0)) if limit is None else limit
    # A shifted image is cut out of the padded one as one contiguous block of whole rows, which are then trimmed. With
    # NumPy this is three times as fast as cutting out a rectangle. The block may extend `2 * limit` pixels beyond the
    # last row, hence one more row of padding below.
    rows = windows.padded(images, limit, limit + 1, limit).reshape(count, -1)
    row = (width + 2 * limit) * depth
    places = limit - shifts.astype("int32")  # (B, 2)
    cut = windows.blocks(rows, places[:, 0] * row + places[:, 1] * depth, height * row)
    moved: Images = cut.reshape(count, height, -1, depth)[:, :, :width]
    return moved


def unit(images: Images) -> Images:
    """Converts bytes to float32 in [0, 1] by multiplying with float32(1/255), as the released reader does."""
    return images.astype(np.float32) * np.float32(1.0 / 255.0)
