"""Writes and reads the prediction for each test image, for recounting and for comparing runs image by image."""

import dataclasses
from pathlib import Path

import numpy as np

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.text import one_line

LENGTHS_OF = 10_000  # sets of exactly this size, that of MNIST's test set, store their class scores
MOST_BYTES = 64 << 20  # of all arrays of a file unpacked; MultiMNIST's 10 million pairs take 40 MB
_REMEDY = "run `dvc repro` to write it anew"
_HALF = float(np.finfo(np.float16).max)


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions and labels of N examples in the order of the test set; pairs have the lower digit first."""

    predicted: np.ndarray  # uint8 (N,); pairs: (N, 2)
    labels: np.ndarray  # uint8, the same shape
    lengths: np.ndarray | None = None  # float16 (N, C): the class scores; None: not kept

    @property
    def right(self) -> np.ndarray:
        """Whether each example is right (in pairs both digits): bool `(N,)`."""
        found: np.ndarray = (self.predicted == self.labels).reshape(len(self.labels), -1).all(axis=1)
        return found


def wrong(predictions: Predictions) -> int:
    """The number of wrong examples."""
    return int(len(predictions.labels) - predictions.right.sum())


def write(path: Path, predicted: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> None:
    """Writes the predictions of a network atomically; equal predictions give equal bytes.

    Args:
        path: an .npz file.
        predicted: classes, integers `(N, T)`, T digits per example in any order; or `(N,)` if T is 1.
        labels: the labels, of the same shape.
        scores: the class scores, float `(N, C)`; stored in half precision if N is `LENGTHS_OF`.

    Raises:
        ValueError: the shapes of the arrays do not match.
    """
    arrays = {"predicted": _classes(predicted), "labels": _classes(labels)}
    if len(scores) != len(arrays["labels"]) or arrays["predicted"].shape != arrays["labels"].shape:
        shapes = [np.shape(array) for array in (predicted, labels, scores)]
        raise ValueError(f"expected as many predictions as labels and scores, received the shapes {shapes}")
    if len(scores) == LENGTHS_OF:
        arrays["lengths"] = np.clip(scores, -_HALF, _HALF).astype(np.float16)
    with files.replacing(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def read(path: Path) -> Predictions:
    """Reads a file of `write`, in at most `MOST_BYTES` of memory, whatever sizes the file claims.

    Raises:
        Error: the file is missing, is damaged, or has other arrays, types or shapes.
    """
    try:
        arrays = files.read_arrays(path, MOST_BYTES)
    except Exception as fault:  # zipfile and NumPy raise almost anything
        raise Error(f"{path}: not readable ({one_line(fault)}); {_REMEDY}") from fault
    received = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
    labels = arrays.get("labels", np.empty(()))
    shape = labels.shape
    fits = len(shape) in (1, 2) and shape[0] > 0 and shape[1:] in ((), (2,))
    expected = dict.fromkeys(("predicted", "labels"), ("uint8", shape))
    if fits and shape[0] == LENGTHS_OF:
        classes = arrays.get("lengths", np.empty((0, 1))).shape[1:]
        expected["lengths"] = ("float16", (LENGTHS_OF, *classes))
        fits = len(classes) == 1
    if not fits or received != expected:
        kinds = "predicted and labels uint8 (N,) or (N, 2), lengths float16 (N, C) if N is 10,000"
        raise Error(f"{path}: expected {kinds}, received {received}; {_REMEDY}")
    return Predictions(arrays["predicted"], labels, arrays.get("lengths"))


def _classes(classes: np.ndarray) -> np.ndarray:
    """Converts classes to the stored form: uint8 `(N,)`, or `(N, 2)` with the lower first."""
    ordered = np.sort(np.asarray(classes).reshape(len(classes), -1), axis=1)
    if ordered.size and not 0 <= ordered.min() <= ordered.max() <= 255:
        raise ValueError(f"expected classes from 0 to 255, received {ordered.min()} to {ordered.max()}")
    stored: np.ndarray = (ordered[:, 0] if ordered.shape[1] == 1 else ordered).astype(np.uint8)
    return stored
