"""MNIST: 60,000 training and 10,000 test digits, 28x28 grey, labels 0-9.

LeCun, Cortes, Burges: "The MNIST database of handwritten digits", http://yann.lecun.com/exdb/mnist, CC BY-SA 3.0.
"""

import struct
from pathlib import Path
from typing import Literal

import numpy as np

from capsrepro.core.errors import Error
from capsrepro.data.batches import Arrays, Batch, InMemory, shifted, single, unit

Split = Literal["train", "test"]

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
COUNTS = {"train": 60_000, "test": 10_000}
VALIDATION = 10_000  # images in the validation split, the first training images
_REMEDY = "delete it and run `python -m experiments.fetch mnist`"


class Mnist(InMemory):
    """MNIST digits, or digits in MNIST's format, in memory."""

    classes = 10

    def __init__(self, images: np.ndarray, labels: np.ndarray, *, name: str, sha256: str, shift: int = 2) -> None:
        """Takes uint8 `images` `(N, H, W, D)` and integer `labels` `(N,)`; training shifts by up to `shift` pixels."""
        super().__init__(images, labels, name=name, sha256=sha256)
        self.shift = shift
        self.image_shape: tuple[int, int, int] = images.shape[1:]

    def batch(self, indices: np.ndarray) -> Batch:
        """The digits without distortion."""
        return single(unit(self.images[indices]), self.labels[indices])

    def draw(self, indices: np.ndarray, generator: np.random.Generator) -> Arrays:
        """The digits and their shifts, by up to `shift` pixels in each direction, int16 `(B, 2)`."""
        shifts = generator.integers(-self.shift, self.shift, size=(len(indices), 2), endpoint=True)
        return {**super().draw(indices, generator), "shift": shifts.astype(np.int16)}

    def render(self, stored: Arrays, drawn: Arrays) -> Batch:
        """The digits, each shifted together with its target."""
        moved = shifted(stored["images"][drawn["number"]], drawn["shift"], self.shift)
        return single(unit(moved), stored["labels"][drawn["number"]])


class EveryShift(Mnist):
    """MNIST with every digit at every shift, like the released code's records; training adds no random shifts.

    The released reader shuffles within a buffer of 5,000 records, in which the copies of a digit are close together;
    here all are shuffled.
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
        """Image i is digit i // 25 with shift number i % 25; shifts are ordered by rows, then columns."""
        return self.render(self.stored, self._listed(indices))

    def draw(self, indices: np.ndarray, generator: np.random.Generator) -> Arrays:
        """The digits and shifts that `batch` has, since these are listed, not random."""
        return self._listed(indices)

    def _listed(self, indices: np.ndarray) -> Arrays:
        digits, places = np.divmod(indices, self._side**2)
        shifts = np.stack(np.divmod(places, self._side), axis=-1) - self.shift  # (B, 2)
        return {"number": digits.astype(np.int32), "shift": shifts.astype(np.int16)}


def load(
    folder: Path, split: Split, *, validate: bool = False, shift: int = 2, examples: int | None = None, sha256: str = ""
) -> Mnist:
    """Reads one split from the unpacked IDX files in `folder`.

    Args:
        folder: holds the files named in `FILES`.
        split: `train` or `test`.
        validate: take both splits from the training files: train is images 10,000-59,999, test is 0-9,999.
        shift: largest shift of a digit in training, in pixels.
        examples: number of examples to take from the start of the split; None: all.
        sha256: hash of the files, for the provenance.

    Returns:
        The split: uint8 `(N, 28, 28, 1)`. N is 60,000 or 10,000; with `validate` it is 50,000 or 10,000.

    Raises:
        Error: a file is missing, has a wrong magic number or count, or is too short or too long.
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
    """Reads an IDX file of unsigned bytes that must have exactly this shape.

    The format: two zero bytes, the element type (8: unsigned byte), the number of dimensions, the sizes as big-endian
    32-bit integers, then the data.

    Returns:
        uint8 of `shape`, read-only.

    Raises:
        Error: the file is missing, or its magic number, sizes or length do not match `shape`.
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
