"""Draws every misclassified test digit."""

import numpy as np
from matplotlib.figure import Figure

from capsrepro.data.batches import Dataset
from capsrepro.figures.drawing import Row, sheet
from capsrepro.network.evaluation import Answers

COLUMNS = 12
MOST = 480  # digits drawn; a `quick` network misclassifies 200 to 400


def mistakes(dataset: Dataset, given: Answers, trained: str) -> Figure:
    """Draws the misclassified test digits in the order of the test set.

    Under each digit stand its number in the test set, its label and its prediction, and the lengths of both capsules.

    Args:
        dataset: the test split, one digit per image.
        given: the network's predictions on it.
        trained: description of the network, for the title.
    """
    wrong = np.flatnonzero(~given.right)
    shown = wrong[:MOST]
    rows = []
    for start in range(0, len(shown), COLUMNS):
        numbers = shown[start : start + COLUMNS]
        rows.append(Row(dataset.batch(numbers).images[..., 0], [_text(given, number) for number in numbers]))
    note = (
        f"{len(wrong):,} of {len(given.right):,} test images are misclassified."
        f"{f' The first {MOST} are drawn.' if len(wrong) > MOST else ''} Under each image: its number in the test set, "
        "counted from 0; label → prediction; the scores of both (of a CapsNet: the lengths of the two capsules)."
    )
    return sheet(f"Misclassified test digits: {trained}", note, rows, columns=COLUMNS)


def _text(given: Answers, number: int) -> str:
    label, predicted = given.labels[number, 0], given.predicted[number, 0]
    lengths = given.scores[number, [label, predicted]]
    return f"#{number}\n{label} → {predicted}\n{lengths[0]:.2f} {lengths[1]:.2f}"
