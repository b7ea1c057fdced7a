"""How two runs differ: effect, 95 % interval and p, by the test that their results allow.

Nothing here rounds. An interval without ends (infinite) says that the results tell nothing of their spread.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.special

from capsrepro.evidence import clusters
from capsrepro.evidence.intervals import CONFIDENCE

_Z = float(scipy.special.ndtri((1 + CONFIDENCE) / 2))


class Effect(NamedTuple):
    """The value of one run less that of the other, in the unit of what was measured."""

    effect: float
    low: float
    high: float
    p: float | None  # of no effect, two-sided; None: there is no test
    test: str


class Count(NamedTuple):
    """How many of a test set were wrong, out of how many."""

    wrong: int
    examples: int


def mcnemar(only_first: int, only_second: int, examples: int) -> Effect:
    """McNemar's exact test, image for image, of one error less the other, in percentage points (McNemar 1947).

    Of the images that exactly one run had wrong, either run had each with a probability of one half if both are equally
    good. The interval spans two: that of this probability, which shuts out no effect where the test does, but takes the
    number of such images as given; and that of both counts, each with its exact interval (Clopper and Pearson), put
    together as Newcombe does, which knows that few such images may be more in another sample.

    Args:
        only_first: images that only the first run had wrong.
        only_second: images that only the second run had wrong.
        examples: all images.
    """
    import scipy.stats

    effect, discordant = only_first - only_second, only_first + only_second
    (low_first, high_first), (low_second, high_second) = (
        [examples * float(end) for end in scipy.stats.binomtest(count, examples).proportion_ci(CONFIDENCE)]
        for count in (only_first, only_second)
    )
    low = effect - math.hypot(only_first - low_first, high_second - only_second)
    high = effect + math.hypot(high_first - only_first, only_second - low_second)
    p = 1.0
    if discordant:
        found = scipy.stats.binomtest(only_first, discordant)
        given = [discordant * (2 * float(end) - 1) for end in found.proportion_ci(CONFIDENCE)]
        low, high, p = min(low, given[0]), max(high, given[1]), float(found.pvalue)
    points = 100 / examples
    return Effect(points * effect, points * low, points * high, p, "McNemar, exact")


def over_seeds(first: Sequence[float], second: Sequence[float]) -> Effect:
    """Student's test and interval of the differences seed by seed.

    One seed, or differences that are all equal, tell nothing of their spread: then there is neither interval nor p.

    Args:
        first: a value for each seed.
        second: the same seeds of the other run; zeros where a value is compared with none.
    """
    differences = np.subtract(first, second, dtype=np.float64)
    effect, name = float(differences.mean()), "Student over seeds"
    if len(differences) < 2 or np.ptp(differences) <= 1e-12 * np.abs(differences).max():
        return Effect(effect, -math.inf, math.inf, None, name)
    import scipy.stats

    found = scipy.stats.ttest_rel(first, second)
    low, high = found.confidence_interval(CONFIDENCE)
    return Effect(effect, float(low), float(high), float(found.pvalue), name)


def unpaired(first: Count, second: Count) -> Effect:
    """Newcombe's interval (1998, method 10) of the difference of two independent errors, and Fisher's exact test.

    Two runs that answered the same images are no independent samples, so that this is too wide: for where it is not
    known which images each had wrong.
    """
    import scipy.stats
    from statsmodels.stats.proportion import confint_proportions_2indep

    low, high = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff", alpha=1 - CONFIDENCE)
    table = [[one.wrong, one.examples - one.wrong] for one in (first, second)]
    effect = 100 * (first.wrong / first.examples - second.wrong / second.examples)
    p = float(scipy.stats.fisher_exact(table).pvalue)
    return Effect(effect, 100 * float(low), 100 * float(high), p, "Newcombe, unpaired")


def unpaired_clusters(first: Count, second: Count) -> Effect:
    """`unpaired` for images that share digits: the interval is `clusters.WIDER` times as wide, and p goes with it."""
    plain = unpaired(first, second)
    low, high = clusters.widened(plain.effect, plain.low, plain.high)
    half = plain.effect - low if plain.effect > 0 else high - plain.effect  # towards no effect
    p = 2 * float(scipy.special.ndtr(-_Z * abs(plain.effect) / half)) if half else 1.0
    return Effect(plain.effect, low, high, p, f"{plain.test}, {clusters.WIDER:g} times as wide")


def bootstrap(differences: np.ndarray) -> Effect:
    """A bootstrap over digits, and Student's test over digits for p.

    Args:
        differences: for each digit, the share of its versions that only the first run had right less that of the
            second: float `(10000,)`.
    """
    import scipy.stats

    low, high = clusters.bootstrap(differences)
    p = float(scipy.stats.ttest_1samp(differences, 0.0).pvalue) if np.ptp(differences) else 1.0
    return Effect(100 * float(differences.mean()), 100 * low, 100 * high, p, "bootstrap over digits")


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction (1979) of all p values that there are, for having asked several questions."""
    known = [value for value in values if value is not None]
    if not known:
        return list(values)
    from statsmodels.stats.multitest import multipletests

    corrected = iter(multipletests(known, method="holm")[1])
    return [None if value is None else float(next(corrected)) for value in values]
