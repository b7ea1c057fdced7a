"""Computes intervals on affNIST, where 32 images show the same digit: a bootstrap over digits, not over images.

Images of the same digit tend to be right or wrong together. So 320,000 of them say less than 320,000 independent ones.
"""

import numpy as np

DIGITS = 10_000  # of MNIST's test set: the clusters
WIDER = 2.5  # the factor by which the binomial interval was measured to be too narrow, at full width
RESAMPLES = 1999
SEED = 0


def share_digits(data: str, examples: int) -> bool:
    """Whether several images of a test set of this size show the same digit."""
    return data == "affnist" and examples > DIGITS


def by_digit(labels: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """The mean over the versions of each digit; None if the order of the images does not show which belong together.

    Two orders are recognised: all versions of a digit side by side, as in built sets, and all digits in the first
    version, then in the second, and so on. In both the labels have to agree within each digit.

    Args:
        labels: whole numbers `(N,)`.
        values: numbers `(N,)`, such as whether each image is right.

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
    """The 95 % percentile interval of the mean of one number per cluster; the resamples are always the same."""
    import scipy.stats  # takes a second, which tables without affNIST's predictions save

    if np.ptp(values) == 0:  # which SciPy refuses to resample
        return float(values[0]), float(values[0])
    generator = np.random.Generator(np.random.Philox(SEED))
    found = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, batch=100, vectorized=True, method="percentile", rng=generator
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def widened(middle: float, low: float, high: float) -> tuple[float, float]:
    """Widens an interval for independent images by the factor `WIDER`, for images that share their digits."""
    return middle - WIDER * (middle - low), middle + WIDER * (high - middle)
