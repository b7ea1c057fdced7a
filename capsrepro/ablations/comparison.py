"""Compares both sides of each ablation: errors, their difference, its interval, and a verdict."""

import math
import statistics
from collections.abc import Mapping, Sequence

from capsrepro.ablations import trainings
from capsrepro.ablations.cases import CASES, Ablation
from capsrepro.ablations.trainings import Count, Kept, Training
from capsrepro.core.params import Params
from capsrepro.evidence.intervals import student_half, wilson

NONE = "nothing to compare"
NOT_RUN = "not run"


def table(known: Params, scale: str, found: Mapping[str, Mapping[int, Kept]]) -> list[dict[str, str]]:
    """A line (see `line`) for each ablation, over all seeds for which both sides have a result.

    Args:
        known: the parameter file.
        scale: name of the scale.
        found: the stored trainings, see `trainings.found`.
    """
    lines, possible = [], trainings.possible(known, scale)
    for case in CASES:
        sides = [trainings.training_of(known, scale, case.run, side) for side in case.sides if case in possible]
        counts = [_counts(side, found[side.name]) for side in sides]
        both = sorted(set.intersection(*map(set, counts))) if counts else []
        lines.append(line(case, scale, *([side[seed] for seed in both] for side in counts)))
    return lines


def _counts(side: Training, kept: Mapping[int, Kept]) -> dict[int, Count]:
    """The counts of the single test of a side, by seed."""
    (test,) = side.tests
    return {seed: one.counts[test] for seed, one in kept.items()}


def line(case: Ablation, scale: str, paper: Sequence[Count] = (), released: Sequence[Count] = ()) -> dict[str, str]:
    """The result of an ablation as cells of a table.

    Args:
        case: the ablation.
        scale: name of the scale, for the verdict.
        paper: counts of the paper's side, one for each seed.
        released: counts of the released code's side, of the same seeds in the same order.

    Returns:
        Cells by column: errors in percent, mean ± standard deviation over the seeds; wrong counts, summed over the
        seeds; the paper's error minus the released code's in points, and its interval, see `interval`.
    """
    cells = {
        "ablation": case.name,
        "what": case.what,
        "where": case.where,
        "run": case.run,
        "paper": case.paper.words,
        "released": case.released.words if case.released else "absent",
        "seeds": str(len(paper)) if case.released else "",
    }
    measured = ("paper_error_pct", "released_error_pct", "paper_wrong", "released_wrong", "difference", "interval")
    cells |= dict.fromkeys(measured, "") | {"verdict": NOT_RUN if case.released else NONE, "limits": case.limits}
    if not paper:
        return cells
    sides = {"paper": paper, "released": released}
    cells |= {f"{side}_error_pct": _spread([count.error_pct for count in counts]) for side, counts in sides.items()}
    cells |= {f"{side}_wrong": "/".join(map(str, _pooled(counts))) for side, counts in sides.items()}
    low, high = interval(paper, released)
    difference = statistics.fmean(differences(paper, released))
    return cells | {
        "difference": f"{difference:+.2f}",
        "interval": f"{low:+.2f} to {high:+.2f}" if math.isfinite(low) else "",
        "verdict": verdict(low, high, scale),
    }


def differences(paper: Sequence[Count], released: Sequence[Count]) -> list[float]:
    """The paper's error minus the released code's for each seed, in points."""
    return [ours.error_pct - theirs.error_pct for ours, theirs in zip(paper, released, strict=True)]


def interval(paper: Sequence[Count], released: Sequence[Count]) -> tuple[float, float]:
    """A 95 % interval of the difference in points that spans two intervals, Student's and Newcombe's.

    A difference counts only if it is clear of zero in both. Student's interval is of the differences for each seed; a
    seed has the same initial weights and order of data on both sides. It covers other seeds on the same test images,
    but with three seeds it can be narrow by chance. Newcombe's interval (1998, method 10) is of the counts summed over
    the seeds and covers other test images. It treats all predictions as independent. In fact both sides predict the
    same images, which makes it too wide, and so do all seeds, which makes it too narrow.

    Returns:
        The smaller of the two lower ends and the larger of the two upper ends; infinite with fewer than two seeds.
    """
    found = differences(paper, released)
    if len(found) < 2:
        return -math.inf, math.inf
    mean, half = statistics.fmean(found), student_half(found)
    ours, theirs = _pooled(paper), _pooled(released)
    (low, high), (their_low, their_high) = wilson(*ours), wilson(*theirs)
    centre = ours.error_pct - theirs.error_pct
    below = math.hypot(ours.error_pct - low, their_high - theirs.error_pct)
    above = math.hypot(high - ours.error_pct, theirs.error_pct - their_low)
    return min(mean - half, centre - below), max(mean + half, centre + above)


def verdict(low: float, high: float, scale: str) -> str:
    """The verdict on an interval of the paper's error minus the released code's."""
    if high < 0:
        return "paper's lower"
    return "released lower" if low > 0 else f"{scale} scale cannot tell"


def _pooled(counts: Sequence[Count]) -> Count:
    return Count(sum(count.wrong for count in counts), sum(count.examples for count in counts))


def _spread(errors: Sequence[float]) -> str:
    mean = f"{statistics.fmean(errors):.2f}"
    return f"{mean} ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else mean
