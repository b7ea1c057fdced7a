"""Computes the power of a verdict: the probability of `reproduced` if the paper is right, and the seeds it needs.

If no possible result would have been `reproduced`, the verdict is `underpowered` instead of `inconclusive`. For a claim
it is the other way round: the difference that its test would find.
"""

import bisect
import dataclasses
import math

import numpy as np
import scipy.special

from capsrepro.evidence import clusters
from capsrepro.evidence.intervals import CONFIDENCE, wilson
from capsrepro.evidence.paper import Row

WANTED = 0.9  # the probability that `seeds_needed` has to reach, rounded to two decimals as in the tables
MOST_SEEDS = 1000
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


@dataclasses.dataclass(frozen=True)
class Power:
    """The probability of `reproduced` with the present number of seeds, if the paper's number is right."""

    probability: float
    seeds_needed: int | None  # for a probability of 0.90; None: more than 1,000
    counts: range | None  # with one seed: the wrong counts that give `reproduced`; None: several seeds

    @property
    def possible(self) -> bool:
        """Whether any possible result is `reproduced`."""
        return self.counts is None or len(self.counts) > 0


def of(row: Row, examples: int, seeds: int, spread: float | None) -> Power:
    """The power of one row.

    Args:
        row: the paper's number and its margin.
        examples: in the test set of one seed.
        seeds: number of seeds.
        spread: standard deviation over the seeds in percentage points; None: unknown. The binomial standard error of
            the test set is then used instead. On MNIST seeds spread about as much, on MultiMNIST more, so that there
            the power is an upper bound.
    """
    wider = clusters.WIDER if clusters.share_digits(row.data, examples) else 1.0
    independent = round(examples / wider**2)  # number of independent images with an equally wide interval
    counts = reproducing(row, independent)
    error = _error_pct(row) / 100
    alone = _probability(counts, independent, error)
    if spread is None:
        spread = 100 * math.sqrt(error * (1 - error) / independent)
        needed = 1 if round(alone, 2) >= WANTED else seeds_needed(spread, row.margin)
    else:
        needed = seeds_needed(spread, row.margin)
    if seeds > 1:
        return Power(of_seeds(seeds, spread, row.margin), needed, None)
    shown = range(math.ceil(counts.start * wider**2), math.floor(counts[-1] * wider**2) + 1) if counts else range(0)
    return Power(alone, needed, shown)


def reproducing(row: Row, examples: int) -> range:
    """The wrong counts of one seed whose Wilson interval lies within the paper's value ± margin; may be empty."""
    bottom, top = round(_error_pct(row) - row.margin, 9), round(_error_pct(row) + row.margin, 9)
    whole = range(examples + 1)  # both ends of the interval grow with the count
    first = bisect.bisect_left(whole, bottom, key=lambda wrong: round(wilson(wrong, examples)[0], 9))
    last = bisect.bisect_right(whole, top, key=lambda wrong: round(wilson(wrong, examples)[1], 9)) - 1
    return range(first, max(first, last + 1))


def of_seeds(seeds: int, spread: float, margin: float) -> float:
    """The probability that Student's interval of the mean of several seeds lies within the paper's value ± margin.

    The errors of the seeds are assumed to be normal around the paper's value with standard deviation `spread`. Mean and
    sample variance are then independent, and the probability is an integral over the sample's standard deviation.

    Args:
        seeds: at least two.
        spread: in the unit of `margin`; 0: all seeds are equal.
        margin: above 0.
    """
    if spread == 0:
        return 1.0
    degrees = seeds - 1
    t = float(scipy.special.stdtrit(degrees, (1 + CONFIDENCE) / 2))
    limit = margin * math.sqrt(seeds) / spread  # the margin in standard errors
    # x = sample standard deviation / spread; x² * degrees is chi-squared. Beyond `highest` the integrand is 0.
    highest = min(limit / t, math.sqrt(float(scipy.special.chdtri(degrees, 1e-14)) / degrees))
    x = highest * (_NODES + 1) / 2
    logarithm = math.log(2) + degrees / 2 * math.log(degrees / 2) - float(scipy.special.gammaln(degrees / 2))
    density = np.exp(logarithm + (degrees - 1) * np.log(x) - degrees * x**2 / 2)
    inside = 2 * scipy.special.ndtr(limit - t * x) - 1  # P(the interval fits | x)
    return float(min(1.0, highest / 2 * np.sum(_WEIGHTS * density * inside)))


def seeds_needed(spread: float, margin: float) -> int | None:
    """The fewest seeds, two or more, whose probability of `reproduced` is `WANTED`; None: more than `MOST_SEEDS`."""
    numbers = range(2, MOST_SEEDS + 1)
    place = bisect.bisect_left(numbers, WANTED, key=lambda seeds: round(of_seeds(seeds, spread, margin), 2))
    return numbers[place] if place < len(numbers) else None


def detectable(spread: float, seeds: int) -> float:
    """The difference between two runs that Student's test over their seeds finds with a probability of `WANTED`.

    Args:
        spread: standard deviation of the differences, seed by seed; the result has its unit.
        seeds: at least two.
    """
    degrees = seeds - 1
    t = float(scipy.special.stdtrit(degrees, (1 + CONFIDENCE) / 2))
    shift = float(scipy.special.nctdtrinc(degrees, 1 - WANTED, t))  # of the noncentral t distribution
    return shift * spread / math.sqrt(seeds)


def _error_pct(row: Row) -> float:
    """The paper's number as an error; an accuracy is subtracted from 100."""
    return 100 - row.value if row.is_accuracy else row.value


def _probability(counts: range, examples: int, error: float) -> float:
    """The probability that a binomial count of wrong examples lies in `counts`."""
    if not counts:
        return 0.0
    low, high = counts[0], counts[-1]
    below = float(scipy.special.bdtr(low - 1, examples, error)) if low else 0.0
    return float(scipy.special.bdtr(high, examples, error)) - below
