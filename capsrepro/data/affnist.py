"""affNIST, MNIST's test digits under small affine maps on 40x40 pixels, and expanded MNIST, its training set.

Tieleman: "affNIST", https://www.cs.toronto.edu/~tijmen/affNIST, free without restrictions. Its `test.mat` has 32
versions of each of MNIST's 10,000 test digits. Section 5.2 of the paper trains on digits at random positions on 40x40
black pixels, stops by the accuracy on a fixed test set of such digits, and tests on affNIST. If `test.mat` is not
available, a variant is built from MNIST by the recipe on that page.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from capsrepro.core import files, room
from capsrepro.core.errors import Error
from capsrepro.core.text import one_line
from capsrepro.data import hashing, mnist
from capsrepro.data.batches import Images, shifted
from capsrepro.data.matlab import matlab
from capsrepro.data.mnist import Mnist

Split = Literal["train", "stop", "test"]

SIZE = 40  # height and width in pixels
PAD = 6  # pixels of padding around a digit of 28 pixels
VERSIONS = 32  # versions of each digit
# The recipe of affNIST's page. Rotation is in degrees counter-clockwise, shear in columns to the right per row down,
# scales are factors. The translation from the middle, in pixels down and right, is uniform over all that keep every
# digit pixel inside.
PARAMETERS = ("rotation", "shear", "vertical_scale", "horizontal_scale", "down", "right")
LOWEST, HIGHEST = np.array([[-20.0, -0.2, 0.8, 0.8], [20.0, 0.2, 1.2, 1.2]])

_BLOCK = 50  # images at a time; their arrays fit into a processor's cache; 128 at a time take three times as long
_FETCH = "run `python -m experiments.fetch affnist`"
_BUILD = "run `python -m experiments.build affnist expanded` for this scale"


class AffNist(Mnist):
    """affNIST in memory, published or built, without distortion in training.

    Attributes:
        built: whether it is the variant built from MNIST; results on it must say so.
        parameters: affine parameters of the built variant, float32 `(N, 6)` in the order of `PARAMETERS`; else None.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, *, sha256: str, parameters: np.ndarray | None = None
    ) -> None:
        """Takes uint8 `images` `(N, 40, 40, 1)` and integer `labels` `(N,)`; `parameters` mark the built variant."""
        self.built = parameters is not None
        self.parameters = parameters
        super().__init__(images, labels, name="affnist-built" if self.built else "affnist", sha256=sha256, shift=0)


def load(
    folder: Path,
    split: Split,
    *,
    built: Path,
    validate: bool = False,
    examples: int | None = None,
    sha256: str = "",
) -> Mnist:
    """Loads one of the three data sets of section 5.2.

    Args:
        folder: holds the folders `mnist` and, if it was fetched, `affnist`.
        split: `train` is expanded MNIST, whose 28x28 pixels get a new position at each step. `stop` is the fixed test
            set of expanded MNIST. `test` is affNIST, published if `folder/affnist/test.mat` exists, else built.
        built: the folder of `expanded.npz` and `affnist.npz`, written by `experiments.build`.
        validate: train without the first 10,000 training digits.
        examples: number of examples to take from the start of the split; None: all.
        sha256: hash of MNIST's files, for the provenance of `train`; the other splits use the hash of their own file.

    Returns:
        60,000 (50,000 with `validate`), 10,000 or 10,000 * versions digits of 40x40 pixels; `test` is an `AffNist`.

    Raises:
        Error: a file is missing, damaged, or has other content than expected.
    """
    if split == "train":
        digits = mnist.load(folder / "mnist", "train", validate=validate, examples=examples)
        name = digits.name.replace("mnist", "expanded-mnist")
        return Mnist(_padded(digits.images), digits.labels, name=name, sha256=sha256, shift=PAD)
    published = folder / "affnist" / "test.mat"
    if split == "test" and published.exists():
        images, labels = read_published(published)
        return AffNist(images[:examples], labels[:examples], sha256=files.sha256(published))
    path = built / ("expanded.npz" if split == "stop" else "affnist.npz")
    images, labels, parameters = (array[:examples] for array in read_built(path, 2 if split == "stop" else 6))
    if split == "stop":
        return Mnist(images, labels, name="expanded-mnist-test", sha256=files.sha256(path), shift=0)
    return AffNist(images, labels, sha256=files.sha256(path), parameters=parameters)


def read_published(path: Path) -> tuple[Images, np.ndarray]:
    """Reads `test.mat`, a Matlab 5 file with one struct `affNISTdata`.

    Its `image` is uint8 `(1600, N)`, with one image in each column, and its `label_int` is `(1, N)`. A column is
    assumed to hold an image row by row, as in the public readers. If it were in Matlab's own order, column by column,
    the digits would come out transposed. The parameters of the published images are not read.

    Returns:
        uint8 `(N, 40, 40, 1)` and labels uint8 `(N,)`; N is 320,000 in the published file.

    Raises:
        Error: the file is missing, is not a Matlab 5 file, or lacks these fields.
    """
    try:
        struct = matlab(path)["affNISTdata"][0, 0]
        images, labels = struct["image"], struct["label_int"].ravel()
    except Exception as fault:  # loadmat raises many types on damaged files
        raise Error(f"{path}: not affNIST's Matlab 5 file ({fault!r}); delete it and {_FETCH}") from fault
    if images.dtype != np.uint8 or images.shape != (SIZE * SIZE, len(labels)) or not np.isin(labels, range(10)).all():
        raise Error(
            f"{path}: expected uint8 images ({SIZE * SIZE}, N) and N labels 0-9, "
            f"received {images.dtype} {images.shape} and {len(labels)} labels; delete it and {_FETCH}"
        )
    return images.T.reshape(-1, SIZE, SIZE, 1), labels.astype(np.uint8)


def save(path: Path, images: Images, labels: np.ndarray, parameters: np.ndarray) -> None:
    """Writes an uncompressed .npz file for `read_built`, atomically; equal arrays give equal bytes."""
    labels, parameters = labels.astype(np.uint8), parameters.astype(np.float32)
    with files.replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, images=images, labels=labels, parameters=parameters)


def read_built(path: Path, parameters: int) -> tuple[Images, np.ndarray, np.ndarray]:
    """Reads a file written by `save`.

    Args:
        path: the file.
        parameters: the number of parameters that each image must have.

    Returns:
        Images uint8 `(N, 40, 40, 1)`, labels uint8 `(N,)`, parameters float32 `(N, parameters)`.

    Raises:
        Error: the file is missing, is damaged, or has other fields, types or shapes.
    """
    try:
        arrays = files.read_arrays(path)
    except Exception as fault:  # zipfile and NumPy raise many types on damaged files
        raise Error(f"{path}: not readable ({one_line(fault)}); {_BUILD}") from fault
    count = len(np.atleast_1d(arrays.get("labels", ())))
    expected = {
        "images": ("uint8", (count, SIZE, SIZE, 1)),
        "labels": ("uint8", (count,)),
        "parameters": ("float32", (count, parameters)),
    }
    received = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
    if received != expected or arrays["labels"].max(initial=0) > 9:
        raise Error(f"{path}: expected {expected} with labels 0-9, received {received}; {_BUILD}")
    return arrays["images"], arrays["labels"], arrays["parameters"]


def build_expanded(digits: Mnist, path: Path, seed: int = 0) -> None:
    """Writes the fixed test set of expanded MNIST to one file; see `expanded` and `save`."""
    images, shifts = expanded(digits.images, np.arange(len(digits)), seed)
    save(path, images, digits.labels, shifts)


def build_affnist(digits: Mnist, path: Path, versions: int = VERSIONS, seed: int = 0) -> None:
    """Writes affNIST, built from these digits with this many `versions` of each, to one file; see `affine`."""
    count = len(digits) * versions
    room.check_memory(2 * count * SIZE * SIZE, f"affNIST with {versions} versions of each digit")  # and written once
    images, parameters = affine(digits.images, np.arange(count), versions, seed)
    save(path, images, np.repeat(digits.labels, versions), parameters)


def expanded(images: Images, numbers: np.ndarray, seed: int) -> tuple[Images, np.ndarray]:
    """Places digits at fixed random positions on 40x40 black pixels; image i is a pure function of (seed, i).

    Args:
        images: uint8 `(N, 28, 28, 1)`.
        numbers: indices of the digits, integers `(B,)`.
        seed: seed of the positions.

    Returns:
        Images, uint8 `(B, 40, 40, 1)`, and shifts from the middle, int64 `(B, 2)`: rows down and columns right, -6 to
        6.
    """
    side = 2 * PAD + 1
    place = hashing.below(hashing.words(("expanded", seed), numbers, 1)[:, 0], side * side)
    shifts = np.stack(np.divmod(place, side), axis=-1) - PAD
    return shifted(_padded(images[numbers]), shifts), shifts


def affine(images: Images, numbers: np.ndarray, versions: int, seed: int) -> tuple[Images, np.ndarray]:
    """Applies random affine maps by affNIST's recipe; image j is a pure function of (seed, j).

    Args:
        images: digits, uint8 `(N, 28, 28, 1)`.
        numbers: indices of the results, integers `(B,)`; image j is made of digit j // versions.
        versions: number of images per digit.
        seed: seed of the maps.

    Returns:
        Images, uint8 `(B, 40, 40, 1)`, and their parameters, float32 `(B, 6)`.

    Raises:
        Error: a digit is too large to fit into 40x40 pixels; MNIST's fit into 20x20 of their 28x28.
    """
    outcome = np.empty((len(numbers), SIZE, SIZE, 1), np.uint8)
    parameters = np.empty((len(numbers), len(PARAMETERS)), np.float32)
    for start in range(0, len(numbers), _BLOCK):
        block = slice(start, start + _BLOCK)
        digits = images[numbers[block] // versions]
        parameters[block] = _draw(digits, hashing.words(("affnist", seed), numbers[block], len(PARAMETERS)))
        outcome[block] = transformed(digits, parameters[block])
    return outcome, parameters


def _draw(digits: Images, words: np.ndarray) -> np.ndarray:
    """Draws parameters `(B, 6)` from six random words per image."""
    share = (words >> np.uint64(11)) * 2.0**-53  # (B, 6) in [0, 1)
    shape = (LOWEST + (HIGHEST - LOWEST) * share[:, :4]).astype(np.float32)
    ink = digits[..., 0] > 0  # (B, 28, 28)
    row, column = np.indices(ink.shape[1:]) - (ink.shape[1] - 1) / 2
    translation = []
    for (by_row, by_column), part in zip(_matrix(shape), (share[:, 4], share[:, 5]), strict=True):
        place = by_row * row + by_column * column  # (B, 28, 28) of each pixel's centre, from the image's centre
        # With bilinear interpolation a pixel extends one pixel in each direction before the map. The centre counts as
        # ink: MNIST's digits are centred by mass and so surround it, and a blank image then has a position too.
        extent = (np.abs(by_row) + np.abs(by_column))[:, 0, 0]
        lowest = np.where(ink, place, 0.0).min(axis=(1, 2)) - extent
        highest = np.where(ink, place, 0.0).max(axis=(1, 2)) + extent
        # Only the 40 pixels lie strictly between -1 and 40; relative to the image's centre that is +-(40 + 1) / 2.
        least, most = -(SIZE + 1) / 2 - lowest, (SIZE + 1) / 2 - highest
        if np.any(least > most):
            raise Error(f"a digit does not fit {SIZE}x{SIZE} pixels under an affine map; give digits of 20x20 on 28x28")
        translation.append(least + (most - least) * part)
    return np.concatenate([shape, np.stack(translation, axis=-1)], axis=-1)


def _matrix(parameters: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The matrix from the digit's (row, column) to the image's: scale, then shear, then rotation; entries `(B, 1, 1)`.

    The bytes of an image must not depend on the processor. NumPy's sums, products and quotients do not, but the last
    bit of sine and cosine does. These are therefore rounded to 32 bits after the binary point.
    """
    angle, shear, vertical, horizontal = parameters[:, :4].astype(np.float64).T[..., None, None]
    sine, cosine = (np.rint(function(np.deg2rad(angle)) * 2.0**32) * 2.0**-32 for function in (np.sin, np.cos))
    return (
        (vertical * (cosine - sine * shear), -horizontal * sine),
        (vertical * (sine + cosine * shear), horizontal * cosine),
    )


def transformed(digits: Images, parameters: np.ndarray, size: int = SIZE) -> Images:
    """Applies affine maps about the middle of the digits, with bilinear interpolation and black outside.

    Args:
        digits: uint8 `(B, H, H, 1)`.
        parameters: `(B, 6)` in the order of `PARAMETERS`.
        size: height and width of the result; without translation the digit is in its middle.

    Returns:
        uint8 `(B, size, size, 1)`, rounded.
    """
    count, height = digits.shape[:2]
    (row_by_row, row_by_column), (column_by_row, column_by_column) = _matrix(parameters)
    determinant = row_by_row * column_by_column - row_by_column * column_by_row
    down, right = parameters[:, 4:].astype(np.float64).T[..., None, None]
    to_row = np.arange(size)[:, None] - (size - 1) / 2 - down  # (B, size, 1)
    to_column = np.arange(size) - (size - 1) / 2 - right  # (B, 1, size)
    middle = (height - 1) / 2
    from_row = (column_by_column * to_row - row_by_column * to_column) / determinant + middle  # (B, size, size)
    from_column = (row_by_row * to_column - column_by_row * to_row) / determinant + middle

    side = height + 3  # one black pixel before and two after, so that each index has a successor
    padded = np.zeros((count, side, side))
    padded[:, 1:-2, 1:-2] = digits[..., 0]
    row, row_part = _split(from_row, height)
    column, column_part = _split(from_column, height)
    place = (np.arange(count)[:, None, None] * side + row) * side + column
    flat = padded.ravel()
    above = flat[place] + column_part * (flat[place + 1] - flat[place])
    place += side
    below = flat[place] + column_part * (flat[place + 1] - flat[place])
    values: np.ndarray = above + row_part * (below - above)
    return (values + 0.5).astype(np.uint8)[..., None]


def _split(position: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits positions, clipped to the black edge, into an index into the padded digit and a fraction of a pixel."""
    inside = np.clip(position, -1.0, height) + 1.0
    whole = inside.astype(np.int64)
    return whole, inside - whole


def _padded(images: Images) -> Images:
    return np.pad(images, ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)))
