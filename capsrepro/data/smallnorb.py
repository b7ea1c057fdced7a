"""smallNORB: 24,300 training and 24,300 test stereo pairs of toys, 96x96 grey, 5 classes; the network sees 32x32.

LeCun, Huang, Bottou: "Learning methods for generic object recognition with invariance to pose and lighting", CVPR 2004,
https://cs.nyu.edu/~ylclab/data/norb-v1.0-small, "provided for research purposes. It cannot be sold."
"""

import struct
from pathlib import Path

import numpy as np

from capsrepro.core.errors import Error
from capsrepro.data.batches import Batch, InMemory
from capsrepro.data.distortion import BRIGHTNESS, CONTRAST, brightness, contrast, cropped, standardised
from capsrepro.data.mnist import Split

FILES = {
    "train": tuple(f"smallnorb-5x46789x9x18x6x2x96x96-training-{kind}.mat" for kind in ("dat", "cat")),
    "test": tuple(f"smallnorb-5x01235x9x18x6x2x96x96-testing-{kind}.mat" for kind in ("dat", "cat")),
}
COUNTS = {"train": 24_300, "test": 24_300}
SIDE = 48  # of a halved image
CROP = 32  # what the network sees of it (section 7)
MAGIC = {np.dtype("<i4"): 0x1E3D4C54, np.dtype("u1"): 0x1E3D4C55}
_REMEDY = "delete it and run `python -m experiments.fetch smallnorb`"


class SmallNorb(InMemory):
    """Halved stereo pairs, left and right eye, uint8 `(N, 48, 48, 2)`; a batch holds their standardised crops.

    These are float32 `(B, 32, 32, 2)`.
    """

    image_shape = (CROP, CROP, 2)
    classes = 5

    def batch(self, indices: np.ndarray) -> Batch:
        """The middle of each pair."""
        return self._batch(standardised(cropped(self.images[indices], CROP).astype(np.float32)), indices)

    def distorted(self, indices: np.ndarray, generator: np.random.Generator) -> Batch:
        """A random crop of each pair with random brightness and contrast, the same for both eyes.

        As in the released code, contrast is about the means of the whole image, not of the crop.
        """
        count = len(indices)
        images = self.images[indices].astype(np.float32)
        images = brightness(images, generator.uniform(-BRIGHTNESS, BRIGHTNESS, count))
        images = contrast(images, generator.uniform(*CONTRAST, count))
        places = generator.integers(0, SIDE - CROP, size=(count, 2), endpoint=True)
        return self._batch(standardised(cropped(images, CROP, places)), indices)


def load(folder: Path, split: Split, *, examples: int | None = None, sha256: str = "") -> SmallNorb:
    """Reads one split from the unpacked matrix files in `folder`.

    Args:
        folder: holds the files named in `FILES`.
        split: `train` or `test`; no toy is in both.
        examples: only the first so many of the split.
        sha256: what the files' content is known by, for provenance.

    Returns:
        The split, halved: uint8 `(N, 48, 48, 2)`, N being 24,300 unless `examples` is smaller.

    Raises:
        Error: a file is missing, has a wrong magic number, wrong sizes or a wrong length, or a label is not 0-4.
    """
    pairs, categories = (folder / name for name in FILES[split])
    images = read_matrix(pairs, np.dtype("u1"), (COUNTS[split], 2, 96, 96))
    labels = read_matrix(categories, np.dtype("<i4"), (COUNTS[split],))
    if labels.min() < 0 or labels.max() > 4:
        raise Error(f"{categories}: expected labels 0-4, received {labels.min()} to {labels.max()}; {_REMEDY}")
    halves = halved(np.moveaxis(images[:examples], 1, -1))
    return SmallNorb(halves, labels[:examples], name=f"smallnorb-{split}", sha256=sha256)


def halved(images: np.ndarray) -> np.ndarray:
    """Keeps every second pixel of `images` `(N, H, W, D)`, the first included: a new array `(N, H / 2, W / 2, D)`.

    This is what the released code's resizing (bilinear, TensorFlow 1's way) does at a factor of two.
    """
    return np.array(images[:, ::2, ::2], order="C")


def read_matrix(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Maps a NORB matrix file that must hold exactly `shape`.

    The format, all little-endian 32-bit numbers: the magic number of the element type, the number of dimensions, the
    sizes (three are stored even where there are fewer dimensions), then the data.

    Returns:
        Array of `dtype` and `shape`, read-only; it is read from the disk where it is used (a set has 448 MB).

    Raises:
        Error: the file is missing, or its magic number, its sizes or its length are not those of `dtype` and `shape`.
    """
    dimensions = len(shape)
    header = 4 * (2 + max(3, dimensions))
    expected = header + dtype.itemsize * int(np.prod(shape))
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            content = file.read(header)
    except OSError as fault:
        raise Error(f"{path}: not readable ({fault.strerror}); run `python -m experiments.fetch smallnorb`") from fault
    if len(content) < header:
        raise Error(f"{path}: too short for a NORB header of {header} bytes, received {size}; {_REMEDY}")
    magic, rank, *sizes = struct.unpack(f"<{header // 4}I", content)
    if magic != MAGIC[dtype]:
        raise Error(f"{path}: expected the magic number {MAGIC[dtype]:#x}, received {magic:#x}; {_REMEDY}")
    if (rank, *sizes[:dimensions]) != (dimensions, *shape):
        raise Error(f"{path}: expected {shape}, its header says {tuple(sizes[:rank])}; {_REMEDY}")
    if size != expected:
        raise Error(f"{path}: expected {expected} bytes, received {size}; {_REMEDY}")
    return np.asarray(np.memmap(path, dtype, "r", offset=header, shape=shape))
