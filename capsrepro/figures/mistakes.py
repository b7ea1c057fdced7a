"""Draws the misclassified test images: every digit, or the first photographs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from capsrepro.data.batches import Dataset
from capsrepro.figures.data import visible
from capsrepro.figures.drawing import Row, sheet
from capsrepro.network.evaluation import Answers

COLUMNS = 12
COLUMNS_WITH_NAMES = 8  # "→ automobile" is wider than a twelfth of the sheet
MOST = 480  # digits drawn; a `quick` network misclassifies 200 to 400
MOST_PHOTOGRAPHS = 96


def mistakes(dataset: Dataset, given: Answers, trained: str, names: Sequence[str] = ()) -> Figure:
    """Draws the misclassified test images in the order of the test set.

    Under each image stand its number in the test set, its label and its prediction, and the scores of both.

    Args:
        dataset: the test split, one label per image.
        given: the network's predictions on it.
        trained: description of the network, for the title.
        names: of the classes, where they are no digits.
    """
    wrong = np.flatnonzero(~given.right)
    most, columns = (MOST_PHOTOGRAPHS, COLUMNS_WITH_NAMES) if names else (MOST, COLUMNS)
    shown = wrong[:most]
    rows = []
    for start in range(0, len(shown), columns):
        numbers = shown[start : start + columns]
        images = dataset.batch(numbers).images
        drawn = visible(images) if images.shape[-1] == 3 else images[..., 0]
        rows.append(Row(drawn, [_text(given, number, names) for number in numbers]))
    note = (
        f"{len(wrong):,} of {len(given.right):,} test images are misclassified."
        f"{f' The first {most} are drawn.' if len(wrong) > most else ''} Under each image: its number in the test set, "
        "counted from 0; label → prediction; the scores of both (of a CapsNet: the lengths of the two capsules)."
    )
    return sheet(f"Misclassified test {'images' if names else 'digits'}: {trained}", note, rows, columns=columns)


def _text(given: Answers, number: int, names: Sequence[str]) -> str:
    label, predicted = given.labels[number, 0], given.predicted[number, 0]
    lengths = given.scores[number, [label, predicted]]
    both = f"{names[label]}\n→ {names[predicted]}" if names else f"{label} → {predicted}"
    return f"#{number}\n{both}\n{lengths[0]:.2f} {lengths[1]:.2f}"
