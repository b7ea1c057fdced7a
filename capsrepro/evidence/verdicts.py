"""Judges each number of the paper from a measured interval."""

import dataclasses
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from capsrepro.evidence import clusters, deviations, power
from capsrepro.evidence.deviations import is_narrow, is_partial, is_stale, smaller
from capsrepro.evidence.intervals import student, wilson
from capsrepro.evidence.paper import Row
from capsrepro.evidence.power import Power
from capsrepro.evidence.results import Result

JUDGED = ("reproduced", "better", "missed", "inconclusive", "underpowered")  # words that compare with the paper
WORDS = (*JUDGED, "not run", "stale", "not reached", "changed", "quick", "reduced width")  # all
Span = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A verdict and its remarks: how the run deviates from the paper's, or why it was not run.

    `interval` is the one of `interval`, None without results; `power` is that of a word of `JUDGED`, else None.
    """

    word: str
    remarks: tuple[str, ...] = ()
    interval: Span | None = None
    power: Power | None = None

    def __str__(self) -> str:
        """Formats verdict and remarks: `reproduced (14k steps, bfloat16)`, `not run: source unreachable`."""
        if self.word == "not run":
            return ": ".join((self.word, *self.remarks))
        return f"{self.word} ({', '.join(self.remarks)})" if self.remarks else self.word


def measured(row: Row, results: Sequence[Result]) -> list[float]:
    """The measure of the row in percent for each result: its error, or 100 minus the error for an accuracy."""
    errors = [100 * result.wrong / result.examples for result in results]
    return [100 - error for error in errors] if row.is_accuracy else errors


def interval(row: Row, results: Sequence[Result], by_digit: np.ndarray | None = None) -> Span:
    """The 95 % interval of the row's measure in percent: Wilson's for one result, Student's for several.

    Where several results are all equal, which few wrong images can be by chance, their spread says nothing: it is the
    interval of one of them. On affNIST, where images share their digits, the interval of one result is a bootstrap over
    digits. Without stored predictions it is Wilson's interval, widened by the factor `clusters.WIDER`.

    Args:
        row: the paper's number.
        results: at least one.
        by_digit: of one result, the fraction of each digit's images that is right; None: unknown.
    """
    if spread(row, results):
        return student(measured(row, results))
    result = results[0]
    low, high = wilson(result.wrong, result.examples)
    if clusters.share_digits(row.data, result.examples):
        if by_digit is not None:
            low, high = (100 * end for end in clusters.bootstrap(1 - by_digit))
        else:
            low, high = clusters.widened(100 * result.wrong / result.examples, low, high)
    return (100 - high, 100 - low) if row.is_accuracy else (low, high)


def compare(row: Row, low: float, high: float) -> str:
    """Compares an interval in percent with a row: `reproduced`, `better`, `missed` or `inconclusive`.

    `reproduced`: the interval lies within the paper's value ± margin, ends included. `better` and `missed`: all of it
    lies on the better or worse side of that band.
    """
    # Rounding makes 5.2 + 1.0 equal to a measured 6.2.
    bottom, top = round(row.value - row.margin, 9), round(row.value + row.margin, 9)
    low, high = round(low, 9), round(high, 9)
    if bottom <= low and high <= top:
        return "reproduced"
    if high < bottom:
        return "missed" if row.is_accuracy else "better"
    if low > top:
        return "better" if row.is_accuracy else "missed"
    return "inconclusive"


def judge(
    row: Row,
    results: Sequence[Result],
    settings: Mapping[str, Any] | None,
    paper_settings: Mapping[str, Any] | None,
    reason: str = "",
    *,
    by_digit: np.ndarray | None = None,
    gap: Callable[[], str] = lambda: "not run",
    planned: Sequence[str] = (),
) -> Verdict:
    """Judges one number of the paper.

    A number on affNIST is `reproduced` only if the paper's claim about both networks holds here too: the gap between
    them at equal accuracy on expanded MNIST. Otherwise it is `inconclusive`, and the first remark says why.

    Args:
        row: the paper's number.
        results: the results of this run at one scale, one for each seed; may be empty.
        settings: the run's current settings in params.yaml at that scale, as JSON values; None: not listed any more.
        paper_settings: the same at the scale `paper`; steps and widths are compared with them.
        reason: why the run has no result.
        by_digit: see `interval`.
        gap: returns the verdict on the claim `affnist-gap`; called only if it matters.
        planned: the remarks about the plan, see `plan.remarks`.

    Returns:
        The first of these that applies: `not run` (no results); `stale` (trained or evaluated with other settings);
        `not reached` (training missed its declared stopping accuracy); `changed` (another routing or decoder than the
        paper's row); `quick` or `reduced width` (see `smaller`). Otherwise the verdict of `compare`, with the
        run's deviations as remarks. `inconclusive` becomes `underpowered` if no possible result would have been
        `reproduced`.
    """
    if not results:
        return Verdict("not run", (reason,) if reason else ())
    span = interval(row, results, by_digit)
    found = functools.partial(Verdict, interval=span)
    if any(is_stale(result, settings) for result in results):
        return found("stale")
    if not all(result.stop_reached for result in results):
        return found("not reached")
    beside = deviations.always(results, planned)
    if changes := deviations.changed(row, results):
        return found("changed", (*changes, *beside))
    narrow = any(is_narrow(row, result, paper_settings) for result in results)
    if word := smaller(results, narrow=narrow, partial=any(is_partial(row.data, result) for result in results)):
        return found(word, beside)
    remarks = deviations.remarks(results, paper_settings, planned)
    if spread(row, results) == 0:
        remarks += ("no spread over seeds",)
    if len(results) == 1 and by_digit is None and clusters.share_digits(row.data, results[0].examples):
        remarks += (f"interval {clusters.WIDER:g} times Wilson's",)
    could = power.of(row, results[0].examples, len(results), spread(row, results) or None)
    word = compare(row, *span)
    if row.data == "affnist" and word == "reproduced" and (claim := gap()) != "holds":
        reason = f"the gap {claim}" if claim == "does not hold" else f"the gap: {claim}"
        return found("inconclusive", (reason, *remarks), power=could)
    if word == "inconclusive" and not could.possible:
        word = "underpowered"
    return found(word, remarks, power=could)


def spread(row: Row, results: Sequence[Result]) -> float | None:
    """The standard deviation over the seeds in percentage points; None: fewer than two."""
    return statistics.stdev(measured(row, results)) if len(results) > 1 else None
