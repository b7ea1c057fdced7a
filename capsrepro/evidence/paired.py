"""Compares two runs: effect, 95 % interval and p value, by the test that their results allow.

Nothing is rounded here. An infinite interval means that the results say nothing about their spread.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.special

from capsrepro.evidence import clusters, power
from capsrepro.evidence.intervals import CONFIDENCE, clopper_pearson

_Z = float(scipy.special.ndtri((1 + CONFIDENCE) / 2))


class Effect(NamedTuple):
    """The value of one run minus that of the other, in the unit of the measure."""

    effect: float
    low: float
    high: float
    p: float | None  # two-sided, for the null hypothesis of no effect; None: no test
    test: str
    detectable: float | None = None  # a true effect of this size is found with a probability of 0.90; None: unknown


class Count(NamedTuple):
    """The numbers of wrong and of all test examples."""

    wrong: int
    examples: int


def mcnemar(only_first: int, only_second: int, examples: int) -> Effect:
    """McNemar's exact test of the difference between two errors on the same images, in percentage points (1947).

    Take the images that exactly one run has wrong. If both runs are equally good, each is wrong for either run with
    probability one half. The interval covers two intervals. The first is that of this probability. It excludes no
    effect exactly if the test does, but treats the number of such images as fixed. The second combines the exact
    intervals of both counts (Clopper and Pearson) in Newcombe's way, and allows for other numbers in another sample.

    Args:
        only_first: number of images that only the first run has wrong.
        only_second: number of images that only the second run has wrong.
        examples: number of all images.
    """
    effect, discordant = only_first - only_second, only_first + only_second
    (low_first, high_first), (low_second, high_second) = (
        [examples * end for end in clopper_pearson(count, examples)] for count in (only_first, only_second)
    )
    low = effect - math.hypot(only_first - low_first, high_second - only_second)
    high = effect + math.hypot(high_first - only_first, only_second - low_second)
    p = 1.0
    if discordant:
        given = [discordant * (2 * end - 1) for end in clopper_pearson(only_first, discordant)]
        low, high = min(low, given[0]), max(high, given[1])
        p = min(1.0, 2 * float(scipy.special.bdtr(min(only_first, only_second), discordant, 0.5)))
    points = 100 / examples
    return Effect(points * effect, points * low, points * high, p, "McNemar, exact")


def over_seeds(first: Sequence[float], second: Sequence[float]) -> Effect:
    """Student's test and interval of the differences, seed by seed.

    One seed, or differences that are all equal, say nothing about the spread: then there is neither interval nor p.

    Args:
        first: a value for each seed.
        second: the values of the other run for the same seeds; zeros if there is no other run.
    """
    differences = np.subtract(first, second, dtype=np.float64)
    effect, name = float(differences.mean()), "Student over seeds"
    if len(differences) < 2 or np.ptp(differences) <= 1e-12 * np.abs(differences).max():
        return Effect(effect, -math.inf, math.inf, None, name)
    import scipy.stats

    found = scipy.stats.ttest_rel(first, second)
    low, high = found.confidence_interval(CONFIDENCE)
    detectable = power.detectable(float(differences.std(ddof=1)), len(differences))
    return Effect(effect, float(low), float(high), float(found.pvalue), name, detectable)


def unpaired(first: Count, second: Count) -> Effect:
    """Newcombe's interval (1998, method 10) of the difference of two independent errors, and Fisher's exact test.

    Two runs on the same images are not independent, so this interval is too wide. It is used if it is unknown which
    images each run has wrong.
    """
    import scipy.stats
    from statsmodels.stats.proportion import confint_proportions_2indep

    low, high = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff", alpha=1 - CONFIDENCE)
    table = [[one.wrong, one.examples - one.wrong] for one in (first, second)]
    effect = 100 * (first.wrong / first.examples - second.wrong / second.examples)
    p = float(scipy.stats.fisher_exact(table).pvalue)
    return Effect(effect, 100 * float(low), 100 * float(high), p, "Newcombe, unpaired")


def unpaired_clusters(first: Count, second: Count) -> Effect:
    """`unpaired` for images that share digits: the interval is widened by `clusters.WIDER`, and p matches it."""
    plain = unpaired(first, second)
    low, high = clusters.widened(plain.effect, plain.low, plain.high)
    half = plain.effect - low if plain.effect > 0 else high - plain.effect  # towards no effect
    p = 2 * float(scipy.special.ndtr(-_Z * abs(plain.effect) / half)) if half else 1.0
    return Effect(plain.effect, low, high, p, f"{plain.test}, {clusters.WIDER:g} times as wide")


def bootstrap(differences: np.ndarray) -> Effect:
    """A bootstrap over digits; p is from Student's test over digits.

    Args:
        differences: for each digit, the fraction of its versions that the first run has right minus that of the second
            run, float `(10000,)`.
    """
    import scipy.stats

    low, high = clusters.bootstrap(differences)
    p = float(scipy.stats.ttest_1samp(differences, 0.0).pvalue) if np.ptp(differences) else 1.0
    return Effect(100 * float(differences.mean()), 100 * low, 100 * high, p, "bootstrap over digits")


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction (1979) of p values for multiple testing; None stays None."""
    known = [value for value in values if value is not None]
    if not known:
        return list(values)
    from statsmodels.stats.multitest import multipletests

    corrected = iter(multipletests(known, method="holm")[1])
    return [None if value is None else float(next(corrected)) for value in values]
