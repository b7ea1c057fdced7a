"""What a network answers on a test split, and which classes it takes for which."""

from typing import NamedTuple

import keras
import numpy as np

from capsrepro.data.batches import Dataset
from capsrepro.network import evaluation, models


class Answers(NamedTuple):
    """Of each example of a split, in its order, what it is and what the network takes it for. N examples."""

    labels: np.ndarray  # (N, T) int32
    predicted: np.ndarray  # (N, T) int64: the classes of the T highest scores, the highest first
    scores: np.ndarray  # (N, C) float32

    @property
    def right(self) -> np.ndarray:
        """Whether all digits of an example are right: `(N,)` bool."""
        found: np.ndarray = (np.sort(self.labels) == np.sort(self.predicted)).all(axis=1)
        return found


def answers(model: keras.Model, dataset: Dataset, batch_size: int = 500) -> Answers:
    """Asks a network about a whole split; of equal scores the class with the lower number counts as the higher.

    Raises:
        Error: a score is not finite.
    """
    parts = [*evaluation.scored(models.classifier(model), dataset, batch_size)]
    scores, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Answers(labels, np.argsort(-scores, axis=1, kind="stable")[:, : dataset.digits], scores)


def confusions(given: Answers) -> np.ndarray:
    """How often a digit of one class (row) was taken for one of another (column): `(C, C)` float64.

    Where both digits of a pair are wrong, nothing says which was taken for which: the four possibilities count half
    each, so that a row still adds up to the digits of its class.
    """
    classes = np.eye(given.scores.shape[1])
    present, seen = (classes[chosen].max(axis=1) for chosen in (given.labels, given.predicted))  # (N, C) of 0 and 1
    missed, instead = present * (1 - seen), seen * (1 - present)
    shares = missed / np.maximum(missed.sum(axis=1, keepdims=True), 1)
    counts: np.ndarray = np.diag((present * seen).sum(axis=0)) + shares.T @ instead
    return counts
