"""The confusion matrix of a network's answers."""

import numpy as np

from capsrepro.network.evaluation import Answers


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
