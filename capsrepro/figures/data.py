"""Draws a sheet of labelled examples of each data set, as the network sees them in training and in the test.

Training examples are the first of the first batch of a training with seed 0. Test examples are the first of the split.
"""

from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure

from capsrepro.core.params import TITLES
from capsrepro.data.affnist import PAD, AffNist
from capsrepro.data.batches import Dataset, Stream, order, shifted, unit
from capsrepro.data.cifar10 import Cifar10
from capsrepro.data.mnist import Mnist
from capsrepro.data.multimnist import MultiMnist
from capsrepro.data.smallnorb import SmallNorb
from capsrepro.data.svhn import Svhn
from capsrepro.figures.drawing import FIRST, SECOND, Row, sheet

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SMALLNORB = ("animal", "human", "airplane", "truck", "car")

Stored = TypeVar("Stored", Cifar10, SmallNorb, Svhn)

_COUNT = 8  # examples in a row
_BATCH, _SEED = 128, 0  # batch size and seed of the training whose first batch is shown
_MOST = 2.5  # standard deviations: the mean plus this is drawn white, the mean minus this black
_SEEN = "test, as the network sees it"
_STANDARDISED = (
    f"The network sees each image with mean 0 and variance 1 over all its values: black is -{_MOST}, white +{_MOST}."
)


def mnist(train: Mnist, test: Mnist) -> Figure:
    """Three rows: training digits, the same digits shifted, test digits; with labels and shifts."""
    note = f"Training moves a digit by up to {train.shift} pixels each way; arrows say by how many."
    return sheet("MNIST", f"{note} {_data_names(train, test)}", [*_moved(train), _plain(test, _SEEN)])


def expanded(train: Mnist, test: Mnist) -> Figure:
    """Three rows: training digits on 40x40 pixels, the same digits shifted, the fixed test set; texts as in `mnist`."""
    note = (
        f"What the affNIST rows are trained on: digits on 40x40 pixels, moved by up to {train.shift} pixels each way; "
        "arrows say by how many. The fixed test set says when to stop."
    )
    rows = [*_moved(train), _plain(test, "the fixed test set, as the network sees it")]
    return sheet("Expanded MNIST", f"{note} {_data_names(train, test)}", rows)


def multimnist(train: MultiMnist, test: MultiMnist) -> Figure:
    """Three rows each for training and test pairs: merged image, first digit, second digit; with labels and shifts."""
    note = (
        f"Two digits of different classes on 36x36 pixels, each moved by up to {train.shift} pixels each way; arrows "
        "say by how many. The network sees min(255, first + second) and has to draw either digit."
    )
    rows = [*_pairs(train, _first(train), "training"), *_pairs(test, np.arange(min(_COUNT, len(test))), "test")]
    return sheet(TITLES["multimnist"], f"{note} {_data_names(train, test)}", rows)


def affnist(test: AffNist, digits: Mnist) -> Figure:
    """Two pairs of rows: MNIST digits, and below them their affine versions with label and the six parameters.

    Args:
        test: affNIST, built or published. The parameters of the published set are not read; it gets two rows of digits
            with labels only.
        digits: all of MNIST's test digits, from which a built `test` was made.
    """
    if test.parameters is None:
        note = "The published test set: MNIST's test digits under random affine maps, which are not read."
        rows = [_plain(test, _SEEN, np.arange(start, start + 6)) for start in (0, 6)]
        return sheet("affNIST, published", f"{note} {_data_names(test)}", rows, columns=6)
    versions = len(test) // len(digits)
    rows = []
    for number in (np.arange(6), np.arange(6, 12)):
        before = np.pad(unit(digits.images[number, :, :, 0]), ((0, 0), (PAD, PAD), (PAD, PAD)))
        after = test.batch(number * versions)
        texts = [
            f"{label}\n{_map(*parameters)}"
            for label, parameters in zip(after.labels[:, 0], test.parameters[number * versions], strict=True)
        ]
        rows += [
            Row(before, [str(label) for label in digits.labels[number]], "MNIST's test digits"),
            Row(after.images[..., 0], texts, _SEEN),
        ]
    note = (
        "Not the published test set but one built from MNIST by its recipe: a digit is scaled in height and width, "
        "sheared (columns to the right for each row down), rotated (degrees counter-clockwise), moved (arrows: pixels)."
    )
    return sheet("affNIST, built from MNIST", f"{note} {_data_names(test)}", rows, columns=6)


def cifar10(train: Cifar10, test: Cifar10) -> Figure:
    """Four rows: training photographs, their distorted crops, test photographs, their central crops; class names."""
    note = f"Training cuts out 24x24 pixels anywhere, mirrors, and changes brightness and contrast. {_STANDARDISED}"
    rows = []
    for dataset, split, numbers, pixels in _both(train, test):
        texts = [f"{label} {CIFAR10[label]}" for label in dataset.labels[numbers]]
        rows += [
            Row(unit(dataset.images[numbers]), texts, f"{split}, as published"),
            Row(visible(pixels), texts, f"{split}, as the network sees it"),
        ]
    return sheet(TITLES["cifar10"], f"{note} {_data_names(train, test)}", rows)


def visible(pixels: np.ndarray) -> np.ndarray:
    """Standardised colours, float32 `(B, H, W, 3)`, as colours in [0, 1]."""
    return np.clip(pixels / (2 * _MOST) + 0.5, 0.0, 1.0)


def smallnorb(train: SmallNorb, test: SmallNorb) -> Figure:
    """Four rows as in `cifar10`; the left and right camera images of a toy are side by side."""
    note = f"Training cuts out 32x32 of 48x48 pixels anywhere and changes brightness and contrast. {_STANDARDISED}"
    rows = []
    for dataset, split, numbers, pixels in _both(train, test, _COUNT // 2):
        names = [f"{label} {SMALLNORB[label]}" for label in dataset.labels[numbers]]
        texts = [text for name in names for text in (f"{name}, left", "right")]
        rows += [
            Row(_cameras(unit(dataset.images[numbers])), texts, f"{split}, every second pixel of the published"),
            Row(_cameras(pixels), texts, f"{split}, as the network sees it", span=(-_MOST, _MOST)),
        ]
    return sheet(TITLES["smallnorb"], f"{note} {_data_names(train, test)}", rows)


def svhn(train: Svhn, test: Svhn) -> Figure:
    """Two rows of training digits and two of test digits, with labels; there is no distortion."""
    rows = []
    for dataset, split, numbers, pixels in _both(train, test, 2 * _COUNT):
        texts = [str(label) for label in dataset.labels[numbers]]
        for part in (slice(0, _COUNT), slice(_COUNT, None)):
            caption = "" if part.start else f"{split}, as the network sees it"
            if texts[part]:
                rows.append(Row(pixels[part], texts[part], caption))
    return sheet(TITLES["svhn"], f"Nothing is distorted in training. {_data_names(train, test)}", rows)


def _data_names(*datasets: Dataset) -> str:
    return f"Data: {', '.join(dataset.name for dataset in datasets)}."


def _first(train: Dataset, count: int = _COUNT) -> np.ndarray:
    """The indices of the first examples of a training; in a tiny data set an example may occur twice."""
    return order(_SEED, 0, count, len(train))


def _both(train: Stored, test: Stored, count: int = _COUNT) -> list[tuple[Stored, str, np.ndarray, np.ndarray]]:
    """For each split: the data set, the name of the split, the indices of its examples, and the network's inputs."""
    numbers = np.arange(min(count, len(test)))
    seen = Stream(train, _BATCH, _SEED).batch(0).images[:count]
    return [(train, "training", _first(train, count), seen), (test, "test", numbers, test.batch(numbers).images)]


def _moved(train: Mnist) -> list[Row]:
    """Two rows: training digits before and after their random shift."""
    before = train.batch(_first(train))
    after = Stream(train, _BATCH, _SEED).batch(0).images[:_COUNT]
    labels = [str(label) for label in before.labels[:, 0]]
    moves = [_move(digit, moved, train.shift) for digit, moved in zip(before.images, after, strict=True)]
    texts = [f"{label}   {_arrows(*move)}" for label, move in zip(labels, moves, strict=True)]
    return [
        Row(before.images[..., 0], labels, "training, before it is moved"),
        Row(after[..., 0], texts, "training, as the network sees it"),
    ]


def _plain(test: Mnist, caption: str, numbers: np.ndarray | None = None) -> Row:
    batch = test.batch(np.arange(min(_COUNT, len(test))) if numbers is None else numbers)
    return Row(batch.images[..., 0], [str(label) for label in batch.labels[:, 0]], caption)


def _pairs(dataset: MultiMnist, numbers: np.ndarray, split: str) -> list[Row]:
    batch, pairs = dataset.batch(numbers), dataset.pairs(numbers)
    rows = [Row(batch.images[..., 0], [f"{a} and {b}" for a, b in batch.labels], f"{split}, as the network sees it")]
    kinds = (("first", pairs.base_shift, FIRST), ("second", pairs.top_shift, SECOND))
    for place, (name, shifts, colour) in enumerate(kinds):
        texts = [f"{label}   {_arrows(*move)}" for label, move in zip(batch.labels[:, place], shifts, strict=True)]
        rows.append(Row(batch.targets[:, place, ..., 0], texts, f"{split}, the {name} digit", colour=colour))
    return rows


def _cameras(images: np.ndarray) -> np.ndarray:
    """Stereo pairs `(B, H, W, 2)` as `(2 B, H, W)`: left, right, left, right."""
    return np.moveaxis(images, -1, 1).reshape(-1, *images.shape[1:3])


def _move(before: np.ndarray, after: np.ndarray, max_shift: int) -> tuple[int, int]:
    """Finds the shift (down, right) in pixels from `before` to `after`, by trying all shifts, shortest first.

    Raises:
        ValueError: no shift of at most `max_shift` pixels in either direction fits; these are different digits.
    """
    steps = range(-max_shift, max_shift + 1)
    moves = sorted(((down, right) for down in steps for right in steps), key=lambda move: abs(move[0]) + abs(move[1]))
    tried = shifted(np.repeat(before[None], len(moves), axis=0), np.array(moves))
    fits = (tried == after).all(axis=(1, 2, 3))
    if not fits.any():
        raise ValueError(f"expected a digit moved by at most {max_shift} pixels each way, received another image")
    return moves[int(np.argmax(fits))]


def _arrows(down: float, right: float, digits: int = 0) -> str:
    """Formats a shift: `↓2 ←1`; a direction without shift has no arrow."""
    steps = ((down, "↓", "↑"), (right, "→", "←"))
    parts = [f"{more if step > 0 else less}{abs(step):.{digits}f}" for step, more, less in steps if step]
    return " ".join(parts) or "not moved"


def _map(rotation: float, shear: float, vertical: float, horizontal: float, down: float, right: float) -> str:
    """Formats the six affine parameters of an affNIST digit in five lines."""
    lines = (
        f"rotation {rotation:+.1f}°",
        f"shear {shear:+.2f}",
        f"height ×{vertical:.2f}",
        f"width ×{horizontal:.2f}",
        _arrows(down, right, 1),
    )
    return "\n".join(lines).replace("-", "\N{MINUS SIGN}")
