"""Draws the paper's Figures 3, 4 and 5: reconstructions of examples that are chosen by fixed rules."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from capsrepro.data.batches import Dataset
from capsrepro.figures.drawing import FIRST, SECOND, Row, sheet, style
from capsrepro.network.evaluation import Answers

OFFSETS = np.arange(-5, 6) * 0.05  # added to a dimension in Figure 4: steps of 0.05 over [-0.25, 0.25]

_BANDS = 2  # bands in Figure 3
_RIGHT, _WRONG = 4, 2  # correct and wrong digits in a band of Figure 3
_DIGITS = 6  # digits in the upper panel of Figure 4
_PAIRS = 8  # pairs in a row of Figure 5; mistakes and forced reconstructions are half as many, each drawn twice
_NAME, _LINE = 48, 16  # characters of the name of a picture, and of a line of it
_MINUS = "\N{MINUS SIGN}"


def figure3(model: keras.Model, dataset: Dataset, given: Answers, trained: str) -> Figure:
    """Draws test digits above their reconstructions, with label, prediction and reconstructed class.

    Args:
        model: a CapsNet with a decoder.
        dataset: the test split, one digit per image.
        given: the model's predictions on it.
        trained: data set and network, see `charts.described`.
    """
    right, wrong = (np.flatnonzero(given.right == kind) for kind in (True, False))
    rows = []
    for band in range(_BANDS):
        shown = right[band * _RIGHT : (band + 1) * _RIGHT]
        failed = np.repeat(wrong[band * _WRONG : (band + 1) * _WRONG], 2)
        asked = np.concatenate([given.labels[shown], _either(given, failed)])
        columns = np.concatenate([np.arange(len(shown)), _RIGHT + 1 + np.arange(len(failed))])
        numbers = np.concatenate([shown, failed])
        images = dataset.batch(numbers).images
        triples = zip(given.labels[numbers, 0], given.predicted[numbers, 0], asked[:, 0], strict=True)
        texts = [f"({label}, {prediction}, {target})" for label, prediction, target in triples]
        rows += _band(images[..., 0], draw(model, images, asked)[:, 0], texts, columns, _RIGHT + 1 + 2 * _WRONG)
    note = (
        "Under each pair of images: (label, prediction, what the decoder was asked for). Above the test image, below "
        f"it what is drawn of it. On the left the first {_BANDS * _RIGHT} test images that are classified rightly, on "
        f"the right the first {_BANDS * _WRONG} that are not, each drawn by its label and by its prediction. "
        f"{_score(given)}"
    )
    return sheet(f"Figure 3: reconstructions of test images ({trained})", note, rows, columns=_RIGHT + 1 + 2 * _WRONG)


def figure4(model: keras.Model, dataset: Dataset, trained: str) -> Figure:
    """Draws strips of 11 reconstructions, in each of which one dimension of the label's capsule is varied.

    The upper panel shows the first test image of each of six classes and the dimension that changes its reconstruction
    most. The lower panel shows all dimensions for the first test image.

    Args:
        model: a CapsNet with a decoder.
        dataset: the test split, one digit per image.
        trained: data set and network, see `charts.described`.
    """
    labels = dataset.batch(np.arange(len(dataset))).labels[:, 0]
    chosen = [int(np.argmax(labels == label)) for label in np.unique(labels)[:_DIGITS]]
    *several, whole = perturbed(model, dataset, [*chosen, 0])  # (D, 11, H, W) each
    strips, names = [], []
    for number, moved in zip(chosen, several, strict=True):
        most = int(np.argmax(np.square(moved[:, -1] - moved[:, 0]).sum(axis=(1, 2))))
        strips.append(moved[most])
        names.append(f"digit {labels[number]}\ndim. {most + 1}")
    last = (len(strips) - 1, len(strips) + len(whole) - 1)  # of either panel
    captions = {
        0: f"the first test image of each of {len(strips)} classes: the dimension that changes it most",
        len(strips): f"the first test image, a {labels[0]}: all {len(whole)} dimensions",
    }
    rows = [
        Row(_strip(images)[None], [" " * (place in last)], captions.get(place, ""))
        for place, images in enumerate([*strips, *whole])
    ]
    note = (
        "A strip shows what the decoder draws when one dimension of the capsule of the digit's label is moved by the "
        "number below. In the middle, at 0, is the reconstruction as it is."
    )
    figure = sheet(f"Figure 4: the dimensions of a capsule ({trained})", note, rows, columns=1)
    names += [f"dim. {place + 1}" for place in range(len(whole))]
    _label_strips(figure, names, last)
    return figure


def figure5(model: keras.Model, dataset: Dataset, given: Answers, trained: str, remark: str) -> Figure:
    """Draws pairs of digits above their two reconstructions, each in its colour.

    There are three bands: correctly classified pairs, mistakes, and reconstructions forced from an absent digit.

    Args:
        model: a CapsNet with a decoder for two digits.
        dataset: the test split, two digits per image.
        given: the model's predictions on it.
        trained: data set and network, see `charts.described`.
        remark: the last sentence of the note: the errors over all pairs, see `segmentation.summary`.
    """
    right, wrong = (np.flatnonzero(given.right == kind) for kind in (True, False))
    failed, forced = (np.repeat(numbers[: _PAIRS // 2], 2) for numbers in (wrong, right))
    bands = (
        (f"right: the first {_PAIRS}", right[:_PAIRS], None),
        (f"mistakes: the first {_PAIRS // 2}, drawn by label and by prediction (P)", failed, _either(given, failed)),
        (
            f"forced: the first {_PAIRS // 2} right ones, asked for one digit that is not there, and for two (*)",
            forced,
            absent(given, forced),
        ),
    )
    rows = []
    for caption, numbers, asked in bands:
        if len(numbers):
            rows += _pairs(model, dataset, given, numbers, given.labels[numbers] if asked is None else asked, caption)
    note = (
        "Each column: a test pair, the digits that are in it, what is drawn. L: the labels. R: the digits that the "
        "decoder was asked for, the first drawn in orange, the second in blue; where both are, it is white. P: these "
        "are the prediction. *: one or both are neither label nor prediction, but the best scored of the others. "
        f"{_score(given)} {remark}"
    )
    return sheet(f"Figure 5: reconstructions of test pairs ({trained})", note, rows, columns=_PAIRS)


def redrawn(model: keras.Model, names: Sequence[str], images: np.ndarray, digits: np.ndarray) -> Figure:
    """Pictures over the reconstruction of the digit that a network takes each for, eight in a row.

    Args:
        model: a CapsNet with a decoder, for one digit.
        names: of the pictures; each is written under its picture, at most `_NAME` characters of it.
        images: `(N, H, W, 1)` in [0, 1].
        digits: the network's answers, integers `(N,)`.
    """
    drawn = draw(model, images, digits[:, None])[:, 0]  # (N, H, W)
    above = [_written(name) for name in names]
    below = [f"drawn as {digit}" for digit in digits]
    both = (images[..., 0], above), (drawn, below)
    parts = [slice(start, start + 8) for start in range(0, len(drawn), 8)]
    rows = [Row(shown[part], texts[part]) for part in parts for shown, texts in both]
    return sheet("What the network is given, and what it draws of its answer", "", rows)


def _written(name: str) -> str:
    """A name in lines as wide as a picture; a longer one loses its middle."""
    shown = name if len(name) <= _NAME else f"{name[: _NAME // 2 - 1]}\N{HORIZONTAL ELLIPSIS}{name[-_NAME // 2 :]}"
    lines = [shown[start : start + _LINE] for start in range(0, len(shown), _LINE)]
    return "\n".join(lines).replace("$", r"\$")  # a bare $ begins a formula


def draw(model: keras.Model, images: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Reconstructs images from the capsules of the given classes.

    Args:
        model: a CapsNet with a decoder for T digits.
        images: `(B, H, W, 1)`.
        asked: classes to reconstruct, `(B, T)`.

    Returns:
        Reconstructions `(B, T, H, W)` in [0, 1].
    """
    classes = model.input["mask"].shape[-1]
    height, width = images.shape[1:3]
    if not len(images):
        return np.zeros((0, asked.shape[1], height, width), np.float32)
    inputs = {"image": images, "mask": np.eye(classes, dtype=np.float32)[asked]}
    drawn: np.ndarray = keras.ops.convert_to_numpy(model(inputs)["reconstruction"])
    return drawn.reshape(*asked.shape, height, width)


def perturbed(model: keras.Model, dataset: Dataset, numbers: Sequence[int]) -> np.ndarray:
    """Reconstructs examples while one dimension of their label's capsule is changed by each of `OFFSETS`.

    Returns:
        Reconstructions `(B, D, 11, H, W)`; the second axis is the changed dimension.
    """
    batch = dataset.batch(np.array(numbers))
    encoder = keras.Model(model.input["image"], model.get_layer("digit_capsules").output)
    capsules = keras.ops.convert_to_numpy(encoder(batch.images))  # (B, C, D)
    count, classes, atoms = capsules.shape
    moves = OFFSETS[:, None] * np.eye(atoms)[:, None]  # (D, 11, D)
    masked = np.zeros((count, atoms, len(OFFSETS), classes, atoms), np.float32)
    for place, label in enumerate(batch.labels[:, 0]):
        masked[place, :, :, label] = capsules[place, label] + moves
    decoder: Any = model.get_layer("reconstruction")
    drawn: np.ndarray = keras.ops.convert_to_numpy(decoder(masked.reshape(-1, 1, classes * atoms)))
    return drawn.reshape(count, atoms, len(OFFSETS), *dataset.image_shape[:2])


def absent(given: Answers, numbers: np.ndarray) -> np.ndarray:
    """Chooses absent classes to reconstruct; a class is absent if it is neither a label nor predicted.

    Args:
        given: predictions on pairs of digits.
        numbers: indices of examples, each twice in a row.

    Returns:
        Classes `(len(numbers), 2)`. The first row of an example has its first label and its best scored absent class,
        the second row its two best scored absent classes.
    """
    scores = given.scores[numbers].copy()
    for present in (given.labels, given.predicted):
        np.put_along_axis(scores, present[numbers], -np.inf, axis=1)
    asked = np.argsort(-scores, axis=1, kind="stable")[:, :2]
    asked[::2, 1] = asked[::2, 0]
    asked[::2, 0] = given.labels[numbers[::2], 0]
    return asked


def overlaid(digits: np.ndarray) -> np.ndarray:
    """Overlays two images, each in its own colour: `(B, 2, H, W)` to `(B, H, W, 3)` in [0, 1]."""
    colours = np.array([to_rgb(FIRST), to_rgb(SECOND)])
    both: np.ndarray = np.minimum(np.einsum("bthw,tc->bhwc", digits, colours), 1.0)
    return both


def _either(given: Answers, numbers: np.ndarray) -> np.ndarray:
    """For examples that come twice in a row: first the labels, then the prediction, its correct digits in label order.

    Each correctly predicted digit stands at the position of its label.
    """
    asked: np.ndarray = given.labels[numbers].astype(np.int64)
    for place, number in list(enumerate(numbers))[1::2]:
        others = [seen for seen in given.predicted[number] if seen not in given.labels[number]]
        asked[place] = [label if label in given.predicted[number] else others.pop(0) for label in given.labels[number]]
    return asked


def _band(above: np.ndarray, below: np.ndarray, texts: list[str], columns: np.ndarray, width: int) -> list[Row]:
    """Two rows with images in the given columns only; the other columns stay white."""
    spread = np.full((2, width, *above.shape[1:]), np.nan, np.float32)
    spread[:, columns] = above, below
    written = [""] * width
    for column, text in zip(columns, texts, strict=True):
        written[column] = text
    return [Row(spread[0], [""] * width), Row(spread[1], written)]


def _pairs(
    model: keras.Model, dataset: Dataset, given: Answers, numbers: np.ndarray, asked: np.ndarray, caption: str
) -> list[Row]:
    """Three rows: pairs, their digits, and the reconstructions of the classes `asked`."""
    batch = dataset.batch(numbers)
    texts = []
    for number, wanted in zip(numbers, asked, strict=True):
        not_labels = set(wanted) - set(given.labels[number])
        mark = "" if not not_labels else "P:" if not_labels <= set(given.predicted[number]) else "*"
        texts.append(f"R:{mark}({wanted[0]}, {wanted[1]})\nL:({given.labels[number, 0]}, {given.labels[number, 1]})")
    blank = [""] * len(numbers)
    return [
        Row(batch.images[..., 0], blank, caption),
        Row(overlaid(batch.targets[..., 0]), blank),
        Row(overlaid(draw(model, batch.images, asked)), texts),
    ]


def _strip(images: np.ndarray) -> np.ndarray:
    """Joins images `(N, H, W)` side by side with a white pixel between them: `(H, N * (W + 1) - 1)`."""
    gaps = np.pad(images, ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
    return np.concatenate([*gaps], axis=1)[:, :-1]


@style()
def _label_strips(figure: Figure, names: list[str], last: tuple[int, ...]) -> None:
    """Writes a name to the left of each strip, and the offsets under the last strip of each panel."""
    for place, (axes, name) in enumerate(zip(figure.axes, names, strict=True)):
        axes.text(-0.01, 0.5, name, transform=axes.transAxes, ha="right", va="center", size=8.5)
        if place in last:
            for column, offset in enumerate(OFFSETS):
                text = f"{offset:+.2f}".replace("-", _MINUS) if column != len(OFFSETS) // 2 else "0"
                middle = (column + 0.5) / len(OFFSETS)
                axes.text(middle, -0.05, text, transform=axes.transAxes, ha="center", va="top", size=8.5)


def _score(given: Answers) -> str:
    return f"The network is right on {given.right.sum():,} of {len(given.right):,}."
