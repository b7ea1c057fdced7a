"""Computes the confusion matrix of a network's predictions."""

import numpy as np

from capsrepro.network.evaluation import Answers


def confusions(given: Answers) -> np.ndarray:
    """The confusion matrix `(C, C)`, float64: rows are labels, columns are predictions.

    If both digits of a pair are wrong, their predictions cannot be matched to them. Each of the four combinations then
    counts one half, so that a row still adds up to the number of digits of its class.
    """
    classes = np.eye(given.scores.shape[1])
    present, seen = (classes[chosen].max(axis=1) for chosen in (given.labels, given.predicted))  # (N, C) of 0 and 1
    missed, instead = present * (1 - seen), seen * (1 - present)
    shares = missed / np.maximum(missed.sum(axis=1, keepdims=True), 1)
    counts: np.ndarray = np.diag((present * seen).sum(axis=0)) + shares.T @ instead
    return counts
