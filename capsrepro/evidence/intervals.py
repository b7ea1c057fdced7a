"""95 % intervals of a measured error: Wilson's and Clopper and Pearson's for one count, Student's for several seeds."""

import math
import statistics
from collections.abc import Sequence

import scipy.special

CONFIDENCE = 0.95
_UPPER = (1 + CONFIDENCE) / 2  # the quantile of a two-sided interval


def wilson(wrong: int, examples: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an error rate, without continuity correction (Wilson 1927).

    Args:
        wrong: number of wrong examples, 0 to `examples`.
        examples: number of all examples, at least 1.

    Returns:
        The lower and upper end in percent, within [0, 100]; exactly 0 if none is wrong, exactly 100 if all are.

    Raises:
        ValueError: the counts are impossible.
    """
    if not 0 <= wrong <= examples or examples < 1:
        raise ValueError(f"expected 0 <= wrong <= examples and examples >= 1, received {wrong} of {examples}")
    square = float(scipy.special.ndtri(_UPPER)) ** 2
    centre = wrong + square / 2
    half = math.sqrt(square * (wrong * (examples - wrong) / examples + square / 4))
    low = 0.0 if wrong == 0 else 100 * (centre - half) / (examples + square)
    high = 100.0 if wrong == examples else 100 * (centre + half) / (examples + square)
    return low, high


def clopper_pearson(count: int, trials: int) -> tuple[float, float]:
    """Clopper and Pearson's exact 95 % interval of a probability (1934), as of `scipy.stats.binomtest`.

    From `scipy.special`, since importing `scipy.stats` takes longer than the rest of a table.

    Args:
        count: number of successes, 0 to `trials`.
        trials: at least 1.

    Returns:
        The lower and upper end, within [0, 1].
    """
    low = float(scipy.special.betaincinv(count, trials - count + 1, 1 - _UPPER)) if count else 0.0
    high = float(scipy.special.betaincinv(count + 1, trials - count, _UPPER)) if count < trials else 1.0
    return low, high


def student(percentages: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean: mean ± t(n - 1) * s / sqrt(n), s with n - 1 in the denominator.

    Args:
        percentages: one value for each seed, at least two, in percent.

    Returns:
        The lower and upper end in percent, clipped to [0, 100]; both equal the mean if all values are equal.

    Raises:
        ValueError: fewer than two values, whose spread is undefined.
    """
    if len(percentages) < 2:
        raise ValueError(f"expected at least two values, received {len(percentages)}; use `wilson` for one")
    mean, half = statistics.fmean(percentages), student_half(percentages)
    return min(mean, max(0.0, mean - half)), max(mean, min(100.0, mean + half))


def student_half(values: Sequence[float]) -> float:
    """Half the width of Student's 95 % interval of the mean of at least two values, without any clipping."""
    t = float(scipy.special.stdtrit(len(values) - 1, _UPPER))
    return t * statistics.stdev(values) / math.sqrt(len(values))
