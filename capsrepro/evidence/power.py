"""What a verdict could have been: the probability of `reproduced` if the paper is right, and the seeds it takes.

A verdict that could not have been `reproduced`, whatever came out, is called `underpowered` rather than `inconclusive`.
"""

import bisect
import dataclasses
import math

import numpy as np
import scipy.special

from capsrepro.evidence import clusters
from capsrepro.evidence.intervals import CONFIDENCE, wilson
from capsrepro.evidence.paper import Row

WANTED = 0.9  # the probability that `seeds_needed` is for, to two decimals, as tables show it
MOST_SEEDS = 1000
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


@dataclasses.dataclass(frozen=True)
class Power:
    """The probability of `reproduced` with the seeds that there are, if the paper's number is right."""

    probability: float
    seeds_needed: int | None  # for a probability of 0.90; None: more than 1,000
    counts: range | None  # with one seed: the wrong counts that give `reproduced`; None: several seeds

    @property
    def possible(self) -> bool:
        """Whether anything that could have come out is `reproduced`."""
        return self.counts is None or len(self.counts) > 0


def of(row: Row, examples: int, seeds: int, spread: float | None) -> Power:
    """The power of one row.

    Args:
        row: the paper's number and its margin.
        examples: in the test set of one seed.
        seeds: how many there are.
        spread: standard deviation over the seeds in percentage points; None: one seed, so that it is not known. Then
            the binomial standard error of the test set stands in for it, which the measured spreads come near to.
    """
    wider = clusters.WIDER if clusters.share_digits(row.data, examples) else 1.0
    independent = round(examples / wider**2)  # images with so wide an interval
    counts = reproducing(row, independent)
    share = _error_pct(row) / 100
    alone = _probability(counts, independent, share)
    if spread is None:
        spread = 100 * math.sqrt(share * (1 - share) / independent)
        needed = 1 if round(alone, 2) >= WANTED else seeds_needed(spread, row.margin)
    else:
        needed = seeds_needed(spread, row.margin)
    if seeds > 1:
        return Power(of_seeds(seeds, spread, row.margin), needed, None)
    shown = range(math.ceil(counts.start * wider**2), math.floor(counts[-1] * wider**2) + 1) if counts else range(0)
    return Power(alone, needed, shown)


def reproducing(row: Row, examples: int) -> range:
    """The wrong counts of one seed whose Wilson interval lies within the paper's value ± margin; perhaps none."""
    bottom, top = round(_error_pct(row) - row.margin, 9), round(_error_pct(row) + row.margin, 9)
    whole = range(examples + 1)  # both ends of the interval grow with the count
    first = bisect.bisect_left(whole, bottom, key=lambda wrong: round(wilson(wrong, examples)[0], 9))
    last = bisect.bisect_right(whole, top, key=lambda wrong: round(wilson(wrong, examples)[1], 9)) - 1
    return range(first, max(first, last + 1))


def of_seeds(seeds: int, spread: float, margin: float) -> float:
    """The probability that Student's interval of the mean of several seeds lies within the paper's value ± margin.

    The seeds are taken as normal about the paper's value with standard deviation `spread`. Mean and sample variance are
    then independent, so that it is one integral over the sample's standard deviation: Gauss's rule, no simulation.

    Args:
        seeds: at least two.
        spread: in the unit of `margin`; 0: no seed differs from another.
        margin: above 0.
    """
    if spread == 0:
        return 1.0
    degrees = seeds - 1
    t = float(scipy.special.stdtrit(degrees, (1 + CONFIDENCE) / 2))
    reach = margin * math.sqrt(seeds) / spread  # in standard errors
    # x = sample standard deviation / spread; x² * degrees is chi-squared. Beyond `highest` there is nothing to count.
    highest = min(reach / t, math.sqrt(float(scipy.special.chdtri(degrees, 1e-14)) / degrees))
    x = highest * (_NODES + 1) / 2
    logarithm = math.log(2) + degrees / 2 * math.log(degrees / 2) - float(scipy.special.gammaln(degrees / 2))
    density = np.exp(logarithm + (degrees - 1) * np.log(x) - degrees * x**2 / 2)
    inside = 2 * scipy.special.ndtr(reach - t * x) - 1  # the mean lies so near that the interval fits
    return float(min(1.0, highest / 2 * np.sum(_WEIGHTS * density * inside)))


def seeds_needed(spread: float, margin: float) -> int | None:
    """The fewest seeds, two or more, whose probability of `reproduced` is `WANTED`; None: more than `MOST_SEEDS`."""
    numbers = range(2, MOST_SEEDS + 1)
    place = bisect.bisect_left(numbers, WANTED, key=lambda seeds: round(of_seeds(seeds, spread, margin), 2))
    return numbers[place] if place < len(numbers) else None


def _error_pct(row: Row) -> float:
    """The paper's number as an error: of an accuracy, what is left of 100."""
    return 100 - row.value if row.is_accuracy else row.value


def _probability(counts: range, examples: int, share: float) -> float:
    """That a binomial count of `examples` lies in `counts`."""
    if not counts:
        return 0.0
    low, high = counts[0], counts[-1]
    below = float(scipy.special.bdtr(low - 1, examples, share)) if low else 0.0
    return float(scipy.special.bdtr(high, examples, share)) - below
