"""Draws a gallery of misclassified test digits."""

import numpy as np
from matplotlib.figure import Figure

from capsrepro.data.batches import Dataset
from capsrepro.figures.drawing import Row, sheet
from capsrepro.network.evaluation import Answers

COLUMNS = 12
MOST = 240  # digits drawn at most: a network after a short training misclassifies hundreds


def mistakes(dataset: Dataset, given: Answers, trained: str) -> Figure:
    """Draws the misclassified test digits in test-set order, with number, label, prediction and the two scores.

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
        f"{len(wrong):,} of {len(given.right):,} test images are wrong"
        f"{f'; the first {MOST} are drawn' if len(wrong) > MOST else ''}. Under each: its number in the test set, "
        "counted from zero; label and answer; the score of either."
    )
    return sheet(f"Wrong test digits: {trained}", note, rows, columns=COLUMNS)


def _text(given: Answers, number: int) -> str:
    label, answer = given.labels[number, 0], given.predicted[number, 0]
    return f"#{number}\n{label} → {answer}\n{given.scores[number, label]:.2f} {given.scores[number, answer]:.2f}"
