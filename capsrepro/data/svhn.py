"""SVHN, cropped digits: 73,257 training and 26,032 test house numbers, 32x32 in colour, labels 0-9.

Netzer, Wang, Coates, Bissacco, Wu, Ng: "Reading digits in natural images with unsupervised feature learning", NIPS 2011
workshop, http://ufldl.stanford.edu/housenumbers, "for non-commercial use only".

The paper trains on the training split alone (section 7), so the 531,131 extra digits are not read. Neither the paper
nor the released code describes the preparation of the pixels. It is our choice to scale them to [0, 1] without
distortion.
"""

from pathlib import Path

import numpy as np

from capsrepro.core.errors import Error
from capsrepro.core.text import one_line
from capsrepro.data.batches import Arrays, Batch, InMemory, single, unit
from capsrepro.data.matlab import matlab
from capsrepro.data.mnist import Split

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
COUNTS = {"train": 73_257, "test": 26_032}
_REMEDY = "delete it and run `python -m experiments.fetch svhn`"


class Svhn(InMemory):
    """SVHN in memory, uint8 `(N, 32, 32, 3)`."""

    image_shape = (32, 32, 3)
    classes = 10

    def batch(self, indices: np.ndarray) -> Batch:
        """The images without distortion, float32 `(B, 32, 32, 3)` in [0, 1]; they are also the targets."""
        return single(unit(self.images[indices]), self.labels[indices])

    def render(self, stored: Arrays, drawn: Arrays) -> Batch:
        """The same as `batch`: training applies no distortion."""
        return single(unit(stored["images"][drawn["number"]]), stored["labels"][drawn["number"]])


def load(folder: Path, split: Split, *, examples: int | None = None, sha256: str = "") -> Svhn:
    """Reads one split from the Matlab files in `folder`.

    Args:
        folder: holds the files named in `FILES`.
        split: `train` or `test`.
        examples: number of examples to take from the start of the split; None: all.
        sha256: hash of the files, for the provenance.

    Returns:
        The split: uint8 `(N, 32, 32, 3)`. N is 73,257 or 26,032.

    Raises:
        Error: a file is missing, is not a Matlab 5 file, holds other arrays, or has a label that is not 1-10.
    """
    images, labels = read_matlab(folder / FILES[split], COUNTS[split])
    return Svhn(images[:examples], labels[:examples], name=f"svhn-{split}", sha256=sha256)


def read_matlab(path: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads a Matlab 5 file with `X`, uint8 `(32, 32, 3, count)`, and `y`, `(count, 1)`: 1-10, 10 being the digit 0.

    Returns:
        Images, uint8 `(count, 32, 32, 3)`, and labels, int32 `(count,)`, 0-9.

    Raises:
        Error: the file is missing, is not a Matlab 5 file, holds other arrays, or has a label that is not 1-10.
    """
    if not path.is_file():
        raise Error(f"{path}: not readable (no such file); run `python -m experiments.fetch svhn`")
    try:
        content = matlab(path)
    except Exception as fault:  # damaged files raised eight types in tests, among them UnboundLocalError and zlib.error
        reason = one_line(fault)
        raise Error(f"{path}: not readable as a Matlab 5 file ({reason}); {_REMEDY}") from fault
    images, labels = (np.asarray(content.get(name)) for name in "Xy")
    if images.dtype != np.uint8 or images.shape != (32, 32, 3, count):
        raise Error(
            f"{path}: expected X, uint8 {(32, 32, 3, count)}, received {images.dtype} {images.shape}; {_REMEDY}"
        )
    if labels.dtype.kind not in "uif" or labels.shape != (count, 1):
        raise Error(f"{path}: expected y, numbers {(count, 1)}, received {labels.dtype} {labels.shape}; {_REMEDY}")
    if wrong := set(np.unique(labels)) - set(range(1, 11)):
        raise Error(f"{path}: expected labels 1-10, received {min(wrong)}; {_REMEDY}")
    return np.ascontiguousarray(np.moveaxis(images, -1, 0)), labels[:, 0].astype(np.int32) % 10
