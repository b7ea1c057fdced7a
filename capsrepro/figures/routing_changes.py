"""Measures how much each pass of routing changes logits and couplings (Figure A.1)."""

import keras
import numpy as np
import pandas

from capsrepro.data.batches import Dataset
from capsrepro.network import routing

IMAGES, PASSES = 400, 8
QUANTITIES = routing.Changes._fields
_BLOCK = 100  # images at a time: 74 MB of votes at full width


def measure(model: keras.Model, dataset: Dataset) -> pandas.DataFrame:
    """Measures the mean change by each of `PASSES` passes over the first `IMAGES` images of a split, undistorted.

    The network may have been trained with fewer passes, and with either update of the logits: all three quantities are
    measured with its weights.

    Args:
        model: a trained CapsNet.
        dataset: the training split.

    Returns:
        A line for each pass, with the columns `pass` and `QUANTITIES`; see `routing.Changes`.
    """
    digit = model.get_layer("digit_capsules")
    encoder = keras.Model(model.input["image"], digit.input)
    count = min(IMAGES, len(dataset))
    sums = np.zeros((len(QUANTITIES), PASSES))
    for start in range(0, count, _BLOCK):
        numbers = np.arange(start, min(start + _BLOCK, count))
        votes = digit.votes(encoder(dataset.batch(numbers).images))
        changes = routing.changes(votes, digit.bias, PASSES, digit.leaky)
        sums += len(numbers) * np.array([keras.ops.convert_to_numpy(change) for change in changes])
    means = dict(zip(QUANTITIES, sums / count, strict=True))
    return pandas.DataFrame({"pass": np.arange(1, 1 + PASSES), **means})
