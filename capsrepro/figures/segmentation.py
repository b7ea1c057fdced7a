"""Measures how well a decoder tells two overlapping digits apart."""

import keras
import numpy as np
import pandas

from capsrepro.data.batches import Dataset
from capsrepro.figures.reconstructions import absent, draw
from capsrepro.network.evaluation import Answers

COLUMNS = ("drawn", "compared_with", "mean_squared_error")


def measure(model: keras.Model, dataset: Dataset, given: Answers, batch_size: int = 500) -> pandas.DataFrame:
    """Compares reconstructions with the two digits of each pair (section 6).

    A decoder that segments draws the digit that it is asked for. It does not draw the other one, nor a digit that is
    not in the image.

    Args:
        model: a CapsNet with a decoder for two digits.
        dataset: the test split, two digits per image.
        given: the model's predictions on it.
        batch_size: batch size of the forward passes.

    Returns:
        A row for each comparison, with the columns `COLUMNS`. The error is the mean over pairs, both digits and all
        pixels; a pixel lies in [0, 1].
    """
    sums, count = np.zeros(4), 0
    for start in range(0, len(dataset), batch_size):
        numbers = np.arange(start, min(start + batch_size, len(dataset)))
        batch = dataset.batch(numbers)
        digits = batch.targets[..., 0]  # (B, 2, H, W)
        drawn = draw(model, batch.images, batch.labels)
        missing = draw(model, batch.images, absent(given, np.repeat(numbers, 2))[1::2])
        errors = (drawn - digits, drawn - digits[:, ::-1], digits, missing)
        sums += [np.square(error, dtype=np.float64).sum() for error in errors]
        count += digits.size
    compared = (
        ("the digit of a label", "that digit"),
        ("the digit of a label", "the other digit of the pair"),
        ("nothing", "the digit of a label"),
        ("a digit that is absent", "nothing"),
    )
    rows = [(*pair, total / count) for pair, total in zip(compared, sums, strict=True)]
    return pandas.DataFrame(rows, columns=pandas.Index(COLUMNS))


def summary(errors: pandas.DataFrame) -> str:
    """One sentence with the four errors of `measure`."""
    own, other, blank, absence = (f"{error:.4f}" for error in errors["mean_squared_error"])
    return (
        f"Mean squared error of a pixel over all test pairs: {own} against the digit that was asked for, {other} "
        f"against the other digit; an empty image would have {blank}. Asked for an absent digit, the decoder draws one "
        f"with a mean square of {absence}."
    )
