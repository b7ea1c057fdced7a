"""smallNORB: 24,300 training and 24,300 test stereo pairs of toys, 96x96 grey, 5 classes; the network sees 32x32.

LeCun, Huang, Bottou: "Learning methods for generic object recognition with invariance to pose and lighting", CVPR 2004,
https://cs.nyu.edu/~ylclab/data/norb-v1.0-small, "provided for research purposes. It cannot be sold."
"""

import struct
from pathlib import Path

import numpy as np

from capsrepro.core.errors import Error
from capsrepro.data.batches import Arrays, Batch, InMemory, single
from capsrepro.data.distortion import BRIGHTNESS, CONTRAST, brightness, contrast, cropped, standardised
from capsrepro.data.mnist import Split

FILES = {
    "train": tuple(f"smallnorb-5x46789x9x18x6x2x96x96-training-{kind}.mat" for kind in ("dat", "cat")),
    "test": tuple(f"smallnorb-5x01235x9x18x6x2x96x96-testing-{kind}.mat" for kind in ("dat", "cat")),
}
COUNTS = {"train": 24_300, "test": 24_300}
SIDE = 48  # pixels of a halved image
CROP = 32  # pixels of the crop that the network sees (section 7)
MAGIC = {np.dtype("<i4"): 0x1E3D4C54, np.dtype("u1"): 0x1E3D4C55}
_REMEDY = "delete it and run `python -m experiments.fetch smallnorb`"


class SmallNorb(InMemory):
    """smallNORB in memory: halved stereo pairs, left and right camera, uint8 `(N, 48, 48, 2)`.

    Batches hold standardised crops, float32 `(B, 32, 32, 2)`.
    """

    image_shape = (CROP, CROP, 2)
    classes = 5

    def batch(self, indices: np.ndarray) -> Batch:
        """The central crop of each pair."""
        return single(standardised(cropped(self.images[indices], CROP).astype(np.float32)), self.labels[indices])

    def draw(self, indices: np.ndarray, generator: np.random.Generator) -> Arrays:
        """The pairs, their brightness and contrast, and the places of their crops; the same for both cameras."""
        count = len(indices)
        return {
            **super().draw(indices, generator),
            "brightness": generator.uniform(-BRIGHTNESS, BRIGHTNESS, count).astype(np.float32),
            "contrast": generator.uniform(*CONTRAST, count).astype(np.float32),
            "place": generator.integers(0, SIDE - CROP, size=(count, 2), endpoint=True).astype(np.int16),
        }

    def render(self, stored: Arrays, drawn: Arrays) -> Batch:
        """A random crop of each pair with random brightness and contrast.

        As in the released code, contrast is scaled about the means of the whole image, not of the crop.
        """
        images = stored["images"][drawn["number"]].astype(np.float32)
        images = contrast(brightness(images, drawn["brightness"]), drawn["contrast"])
        return single(standardised(cropped(images, CROP, drawn["place"])), stored["labels"][drawn["number"]])


def load(folder: Path, split: Split, *, examples: int | None = None, sha256: str = "") -> SmallNorb:
    """Reads one split from the unpacked matrix files in `folder`.

    Args:
        folder: holds the files named in `FILES`.
        split: `train` or `test`; no toy is in both.
        examples: number of examples to take from the start of the split; None: all.
        sha256: hash of the files, for the provenance.

    Returns:
        The split, halved: uint8 `(N, 48, 48, 2)`. N is 24,300 unless `examples` is smaller.

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
    """Keeps every second pixel of `images` `(N, H, W, D)`, starting with the first: a new `(N, H / 2, W / 2, D)` array.

    This equals the released code's resizing (TensorFlow 1's bilinear method) by a factor of two.
    """
    return np.array(images[:, ::2, ::2], order="C")


def read_matrix(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Maps a NORB matrix file that must have exactly this type and shape.

    The header has little-endian 32-bit numbers: the magic number of the element type, the number of dimensions, and the
    sizes. At least three sizes are stored, even for fewer dimensions. The data follow.

    Returns:
        Memory-mapped array of `dtype` and `shape`, read-only; a split has 448 MB.

    Raises:
        Error: the file is missing, or its magic number, sizes or length do not match `dtype` and `shape`.
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
