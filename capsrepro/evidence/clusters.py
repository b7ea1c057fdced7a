"""Intervals on affNIST, where 32 images show one digit: digits are resampled, not images.

Images of one digit are right or wrong together, so that 320,000 of them tell less than as many independent ones would.
"""

import numpy as np

DIGITS = 10_000  # of MNIST's test set: the clusters
WIDER = 2.5  # how much too narrow the binomial interval of 32 versions was measured to be, at full width
RESAMPLES = 1999
SEED = 0


def share_digits(data: str, examples: int) -> bool:
    """Whether several images of a test set of this size show the same digit."""
    return data == "affnist" and examples > DIGITS


def by_digit(labels: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """The mean over the versions of each digit, or None where the order of the images does not show which these are.

    Built sets have the versions of a digit side by side; a set of one version of all digits after the other is
    recognised too. Either way the labels have to agree within each digit.

    Args:
        labels: whole numbers `(N,)`.
        values: numbers `(N,)`, such as whether the answer was right.

    Returns:
        float64 `(10000,)`.
    """
    if len(labels) % DIGITS or len(labels) <= DIGITS:
        return None
    for order in ((DIGITS, -1), (-1, DIGITS)):
        labelled, shaped = labels.reshape(order), values.reshape(order)
        if order[0] < 0:
            labelled, shaped = labelled.T, shaped.T
        if (labelled == labelled[:, :1]).all():
            means: np.ndarray = shaped.mean(axis=1, dtype=np.float64)
            return means
    return None


def bootstrap(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of one number for each cluster, always from the same resamples."""
    import scipy.stats  # a second, which a table without affNIST's predictions need not take

    if np.ptp(values) == 0:  # which SciPy refuses to resample
        return float(values[0]), float(values[0])
    generator = np.random.Generator(np.random.Philox(SEED))
    found = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, batch=100, vectorized=True, method="percentile", rng=generator
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def widened(middle: float, low: float, high: float) -> tuple[float, float]:
    """An interval of independent images as wide as one of images that share their digits: `WIDER` times."""
    return middle - WIDER * (middle - low), middle + WIDER * (high - middle)
