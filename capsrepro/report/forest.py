"""Forest plots: each number of the paper, and the effect of each claim, with its interval; one axis a family.

Places on an axis are percentages of its width, so that a drawing fits any window while its words stay the page's own.
"""

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from capsrepro.core.params import TITLES
from capsrepro.evidence import comparison
from capsrepro.evidence.claim_results import Judged
from capsrepro.evidence.lined import signed
from capsrepro.evidence.scale import Scale
from capsrepro.report import axes
from capsrepro.report.axes import Axis

_OTHERS = "Further data sets: test error, %"
_WIDE = 20  # times as wide as the middle interval of its family: cut off, or all others would be dots on one another
Span = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a forest: its words, and values in the unit of its family. None: not known.

    `band` is the paper's value ± its margin, or the margin of no effect; `least` is the size that a claim asks for.
    """

    name: str
    numbers: str
    verdict: str
    band: Span
    paper: float | None = None
    ours: float | None = None
    interval: Span | None = None
    least: float | None = None

    @property
    def width(self) -> float:
        """Of the interval."""
        return self.interval[1] - self.interval[0] if self.interval else 0.0

    def values(self, widest: float) -> list[float]:
        """All that has to fit on the axis: ours only if its interval is at most `widest`."""
        ours = (self.ours, *(self.interval or ())) if self.width <= widest else ()
        return [*self.band, *(value for value in (self.paper, self.least, *ours) if value is not None)]


@dataclasses.dataclass(frozen=True)
class Family:
    """Lines that share an axis; `zero`: whether no effect is marked on it."""

    title: str
    lines: Sequence[Line]
    axis: Axis
    zero: bool = False


@dataclasses.dataclass(frozen=True)
class Forest:
    """Families under one heading; `band` says what the grey bands are."""

    title: str
    band: str
    families: Sequence[Family]

    @property
    def cut(self) -> bool:
        """Whether an interval reaches beyond its axis."""
        lines = [(family.axis, line) for family in self.families for line in family.lines]
        return not all(axis.holds(end) for axis, line in lines for end in line.interval or ())


def of_claims(ours: Scale, judged: Sequence[Judged]) -> Forest:
    """The effects of all claims that are measured; a family for each measure and data set."""
    lines = [(_measure(ours, one), _effect(one)) for one in judged if one.claim.margin is not None]
    return Forest("The claims: effects", "no effect ± the margin of practical equality", _families(lines, zero=True))


def of_numbers(ours: Scale, table: pd.DataFrame) -> Forest:
    """The paper's numbers and ours, from the table of `comparison.build`; a family for each data set.

    Data sets with a single number share an axis. Published checkpoints without a result are left out.
    """
    numbers: Counter[str] = Counter(row.data for row in ours.rows.values())
    seen: set[str] = set()
    lines = []
    for line in comparison.records(table):
        if line["seeds"] or line["id"] not in seen:
            lines.append((_data_set(ours.rows[line["id"]].data, line["measure"], numbers), _number(line)))
        seen.add(line["id"])
    return Forest("The numbers: the paper's and ours", "the paper's value ± its margin", _families(lines))


def _families(lines: Iterable[tuple[str, Line]], *, zero: bool = False) -> list[Family]:
    """Families in the order of their first lines."""
    found: dict[str, list[Line]] = {}
    for title, line in lines:
        found.setdefault(title, []).append(line)
    return [Family(title, members, _axis(members), zero) for title, members in found.items()]


def _axis(lines: Sequence[Line]) -> Axis:
    """An axis for all lines; far wider intervals than the others' reach beyond it."""
    widths = [line.width for line in lines if line.interval]
    widest = _WIDE * statistics.median(widths or [0.0]) or math.inf
    return axes.linear([value for line in lines for value in line.values(widest)])


def _measure(ours: Scale, one: Judged) -> str:
    if one.claim.measure in ("loss", "logit_change"):
        return {"loss": "Training loss", "logit_change": "Routing logits"}[one.claim.measure] + ": log10 of a ratio"
    known = [ours.rows[run].data for run in one.claim.runs if run in ours.rows]
    data = [*known, *(str(ours.settings[run].get("data")) for run in one.claim.runs if run in ours.settings)]
    title = TITLES[data[0]] if data and data[0] in TITLES else "Further data"
    what = "accuracy" if one.claim.measure == "test_accuracy_pct" else "test error"
    return f"{title}: difference in {what}, percentage points"


def _effect(one: Judged) -> Line:
    claim, effect = one.claim, one.effect
    margin = claim.margin or 0.0
    least = None if claim.least is None else claim.least * (1 if claim.direction == "higher" else -1)
    known = effect is not None and math.isfinite(effect.low)
    words = [f"paper {signed(claim.paper_effect)}" if claim.paper_effect is not None else "paper: no number"]
    if effect is not None:
        words.append(f"ours {signed(effect.effect)}")
        words += [f"{signed(effect.low)} to {signed(effect.high)}"] if known else ["no interval"]
        words.append(_seeds(one.seeds))
    words.append(f"margin {margin:g}" + ("" if least is None else f", at least {signed(least)} claimed"))
    return Line(
        claim.statement,
        "; ".join(words),
        one.verdict,
        (-margin, margin),
        claim.paper_effect,
        effect.effect if effect else None,
        (effect.low, effect.high) if effect and known else None,
        least,
    )


def _data_set(data: str, measure: str, numbers: Mapping[str, int]) -> str:
    if numbers[data] == 1 and measure == "test_error_pct":
        return _OTHERS
    return f"{TITLES[data]}: test {'accuracy' if measure == 'test_accuracy_pct' else 'error'}, %"


def _number(line: Mapping[str, Any]) -> Line:
    """A line of `comparison.records`."""
    spread = "" if line["paper_std"] is None else f" ± {line['paper_std']:g}"
    words = [f"paper {line['paper']:g}{spread}, margin {line['margin']:g}"]
    if line["measured"] is not None:
        words.append(f"ours {line['measured']:.2f}")
        words.append(f"{line['interval_low']:.2f} to {line['interval_high']:.2f}")
        words.append(_seeds(line["seeds"]))
    return Line(
        _named(line),
        "; ".join(words),
        line["verdict"],
        (line["paper"] - line["margin"], line["paper"] + line["margin"]),
        line["paper"],
        line["measured"],
        None if line["measured"] is None else (line["interval_low"], line["interval_high"]),
    )


def _named(line: Mapping[str, Any]) -> str:
    """`CapsNet, MNIST, 3 iterations, decoder`."""
    words = [line["method"]]
    if line["routing"] is not None:
        words.append(f"{line['routing']} iteration{'s' if line['routing'] > 1 else ''}")
        words += {None: [], True: ["decoder"], False: ["no decoder"]}[line["reconstruction"]]
    return ", ".join(words)


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count > 1 else ''}"
