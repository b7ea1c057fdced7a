"""MNIST: 60,000 training and 10,000 test digits, 28x28 grey, labels 0-9.

LeCun, Cortes, Burges: "The MNIST database of handwritten digits", http://yann.lecun.com/exdb/mnist, CC BY-SA 3.0.
"""

import struct
from pathlib import Path
from typing import Literal

import numpy as np

from capsrepro.core.errors import Error
from capsrepro.data.batches import Batch, InMemory, shifted, unit

Split = Literal["train", "test"]

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
COUNTS = {"train": 60_000, "test": 10_000}
VALIDATION = 10_000  # the first so many training images are the validation split
_REMEDY = "delete it and run `python -m experiments.fetch mnist`"


class Mnist(InMemory):
    """Digits."""

    classes = 10

    def __init__(self, images: np.ndarray, labels: np.ndarray, *, name: str, sha256: str, shift: int = 2) -> None:
        """Takes uint8 `images` `(N, H, W, D)` and integer `labels` `(N,)`; training shifts by up to `shift` pixels."""
        super().__init__(images, labels, name=name, sha256=sha256)
        self.shift = shift
        self.image_shape: tuple[int, int, int] = images.shape[1:]

    def batch(self, indices: np.ndarray) -> Batch:
        """The digits as they are."""
        return self._batch(unit(self.images[indices]), indices)

    def distorted(self, indices: np.ndarray, generator: np.random.Generator) -> Batch:
        """The digits, each moved by up to `shift` pixels each way; what is to be drawn moves with it."""
        shifts = generator.integers(-self.shift, self.shift, size=(len(indices), 2), endpoint=True)
        return self._batch(unit(shifted(self.images[indices], shifts)), indices)


class EveryShift(Mnist):
    """MNIST with every digit at every shift, as the released code has it on disk; nothing is drawn in training.

    The released reader shuffles 5,000 of them at a time, in which a digit's copies are neighbours; here all are.
    """

    @classmethod
    def of(cls, digits: Mnist) -> "EveryShift":
        """Lists every shift of these digits, as far as their training shifts them."""
        name = f"{digits.name}, every shift"
        return cls(digits.images, digits.labels, name=name, sha256=digits.sha256, shift=digits.shift)

    @property
    def _side(self) -> int:
        return 2 * self.shift + 1

    def __len__(self) -> int:
        return super().__len__() * self._side**2

    def batch(self, indices: np.ndarray) -> Batch:
        """Image i is digit i // 25, at the shift i % 25 of those in order, row shift outer."""
        digits, places = np.divmod(indices, self._side**2)
        shifts = np.stack(np.divmod(places, self._side), axis=-1) - self.shift  # (B, 2)
        return self._batch(unit(shifted(self.images[digits], shifts)), digits)

    def distorted(self, indices: np.ndarray, generator: np.random.Generator) -> Batch:
        """The same: an image of the list has its shift already."""
        return self.batch(indices)


def load(
    folder: Path, split: Split, *, validate: bool = False, shift: int = 2, examples: int | None = None, sha256: str = ""
) -> Mnist:
    """Reads one split from the unpacked IDX files in `folder`.

    Args:
        folder: holds the files named in `FILES`.
        split: `train` or `test`.
        validate: take both splits from the training files: train is images 10,000-59,999, test is 0-9,999.
        shift: how far training moves the digits, in pixels.
        examples: only the first so many of the split.
        sha256: what the files' content is known by, for provenance.

    Returns:
        The split: uint8 `(N, 28, 28, 1)`, N being 60,000 or 10,000, and 50,000 or 10,000 with `validate`.

    Raises:
        Error: a file is missing, has a wrong magic number or count, is short or has bytes left over.
    """
    source: Split = "train" if validate else split
    names = FILES[source]
    images = read_idx(folder / names[0], (COUNTS[source], 28, 28))[..., None]
    labels = read_idx(folder / names[1], (COUNTS[source],))
    if labels.max() > 9:
        raise Error(f"{folder / names[1]}: expected labels 0-9, received {labels.max()}; {_REMEDY}")
    if validate:
        part = slice(VALIDATION, None) if split == "train" else slice(VALIDATION)
        images, labels = images[part], labels[part]
    name = f"mnist-{split}" + ("-validation" if validate else "")
    return Mnist(images[:examples], labels[:examples], name=name, sha256=sha256, shift=shift)


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Reads an IDX file of unsigned bytes that must hold exactly `shape`.

    The format: two zero bytes, the element type (8: unsigned byte), the number of dimensions, the sizes as big-endian
    32-bit numbers, then the data.

    Returns:
        uint8 of `shape`, read-only.

    Raises:
        Error: the file is missing, or its magic number, its sizes or its length are not those of `shape`.
    """
    header = 4 + 4 * len(shape)
    expected = header + int(np.prod(shape))
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            content = file.read(expected if size == expected else header)
    except OSError as fault:
        raise Error(f"{path}: not readable ({fault.strerror}); run `python -m experiments.fetch mnist`") from fault
    if len(content) < header:
        raise Error(f"{path}: too short for an IDX header of {header} bytes, received {size}; {_REMEDY}")
    magic, *sizes = struct.unpack(f">{1 + len(shape)}I", content[:header])
    if magic != 0x800 + len(shape):
        raise Error(f"{path}: expected the magic number {0x800 + len(shape)}, received {magic}; {_REMEDY}")
    if tuple(sizes) != shape:
        raise Error(f"{path}: expected {shape}, its header says {tuple(sizes)}; {_REMEDY}")
    if size != expected:
        raise Error(f"{path}: expected {expected} bytes, received {size}; {_REMEDY}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
