"""CIFAR-10: 50,000 training and 10,000 test photographs, 32x32 in colour, 10 classes; the network sees 24x24.

Krizhevsky: "Learning multiple layers of features from tiny images", 2009, https://www.cs.toronto.edu/~kriz/cifar.html,
no licence stated.
"""

from pathlib import Path

import numpy as np

from capsrepro.core.errors import Error
from capsrepro.data.batches import Arrays, Batch, InMemory, single
from capsrepro.data.distortion import BRIGHTNESS, CONTRAST, brightness, contrast, cropped, flipped, standardised
from capsrepro.data.mnist import Split

FOLDER = "cifar-10-batches-bin"  # in the published archive
FILES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
COUNTS = {"train": 50_000, "test": 10_000}
VALIDATION = 10_000  # images in the validation split, the first training images
SIDE = 32  # pixels of a photograph
CROP = 24  # pixels of the crop that the network sees (section 7)
_REMEDY = "delete it and run `python -m experiments.fetch cifar10`"


class Cifar10(InMemory):
    """CIFAR-10 in memory, uint8 `(N, 32, 32, 3)`; batches hold standardised crops, float32 `(B, 24, 24, 3)`."""

    image_shape = (CROP, CROP, 3)
    classes = 10

    def batch(self, indices: np.ndarray) -> Batch:
        """The central crop of each photograph."""
        return single(standardised(cropped(self.images[indices], CROP).astype(np.float32)), self.labels[indices])

    def draw(self, indices: np.ndarray, generator: np.random.Generator) -> Arrays:
        """The photographs, the places of their crops, whether they are mirrored, brightness and contrast."""
        count = len(indices)
        return {
            **super().draw(indices, generator),
            "place": generator.integers(0, SIDE - CROP, size=(count, 2), endpoint=True).astype(np.int16),
            "flip": generator.random(count) < 0.5,
            "brightness": generator.uniform(-BRIGHTNESS, BRIGHTNESS, count).astype(np.float32),
            "contrast": generator.uniform(*CONTRAST, count).astype(np.float32),
        }

    def render(self, stored: Arrays, drawn: Arrays) -> Batch:
        """A random crop of each photograph, mirrored or not, with random brightness and contrast."""
        images = cropped(stored["images"][drawn["number"]], CROP, drawn["place"])
        images = flipped(images, drawn["flip"]).astype(np.float32)
        images = contrast(brightness(images, drawn["brightness"]), drawn["contrast"])
        return single(standardised(images), stored["labels"][drawn["number"]])


def load(
    folder: Path, split: Split, *, validate: bool = False, examples: int | None = None, sha256: str = ""
) -> Cifar10:
    """Reads one split from the binary version of the archive.

    Args:
        folder: holds `cifar-10-batches-bin` as unpacked, or is that folder itself.
        split: `train` or `test`.
        validate: take both splits from the training files: train is images 10,000-49,999, test is 0-9,999.
        examples: number of examples to take from the start of the split; None: all.
        sha256: hash of the files, for the provenance.

    Returns:
        The split: uint8 `(N, 32, 32, 3)`. N is 50,000 or 10,000; with `validate` it is 40,000 or 10,000.

    Raises:
        Error: a file is missing, has a wrong length or a label over 9.
    """
    source: Split = "train" if validate else split
    if (folder / FOLDER).is_dir():
        folder = folder / FOLDER
    names = FILES[source]
    parts = [read_binary(folder / name, COUNTS[source] // len(names)) for name in names]
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    if validate:
        part = slice(VALIDATION, None) if split == "train" else slice(VALIDATION)
        images, labels = images[part], labels[part]
    name = f"cifar10-{split}" + ("-validation" if validate else "")
    return Cifar10(images[:examples], labels[:examples], name=name, sha256=sha256)


def read_binary(path: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads a binary batch file with exactly `count` records.

    A record is a label byte, followed by the red, green and blue planes, each row by row.

    Returns:
        Images, uint8 `(count, 32, 32, 3)`, and labels, uint8 `(count,)`.

    Raises:
        Error: the file is missing, has another length or a label over 9.
    """
    values = 3 * SIDE * SIDE
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as fault:
        raise Error(f"{path}: not readable ({fault.strerror}); run `python -m experiments.fetch cifar10`") from fault
    if len(content) != count * (1 + values):
        raise Error(f"{path}: expected {count * (1 + values)} bytes, received {len(content)}; {_REMEDY}")
    records = content.reshape(count, 1 + values)
    labels = records[:, 0]
    if labels.max() > 9:
        raise Error(f"{path}: expected labels 0-9, received {labels.max()}; {_REMEDY}")
    planes = records[:, 1:].reshape(count, 3, SIDE, SIDE)
    return np.ascontiguousarray(np.moveaxis(planes, 1, -1)), labels
