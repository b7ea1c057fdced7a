"""Training curves: for each run the loss and the errors over the steps, all seeds on one pair of axes."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from capsrepro.core import training_history
from capsrepro.core.errors import Error
from capsrepro.report import axes
from capsrepro.report.axes import Axis
from capsrepro.report.run_records import RunRecord

WIDTH, HEIGHT = 360, 190  # of a panel, in units of its own
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 12, 10, 24  # what numbers need around the curves
MOST = 100  # points of a curve; longer ones are thinned to means
_LEAST = 0.01  # percent: a lower error is drawn as this one, since the axis is logarithmic
Points = list[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes: curves as points of an SVG polyline, by kind, and the marks of both axes."""

    title: str
    curves: Sequence[tuple[str, str]]  # `training` or `other`, and its points
    across: Sequence[tuple[float, str]]
    up: Sequence[tuple[float, str]]


@dataclasses.dataclass(frozen=True)
class Curves:
    """The panels of one run, with a sentence that says in words what they show."""

    run: str
    text: str
    panels: Sequence[Panel]


def read(folder: Path, records: Sequence[RunRecord]) -> list[Curves]:
    """Reads the histories of all runs of a scale that have one, seeds of a run together.

    Args:
        folder: that of the report.
        records: runs with their files.

    Raises:
        Error: a history is not CSV, or a value is no number; the message names the file.
    """
    found: dict[str, list[list[Mapping[str, float]]]] = {}
    for record in records:
        if path := record.paths.get("history"):
            found.setdefault(record.name, []).extend(_members(folder / path))
    shown = {run: [one for one in histories if _points(one, "loss")] for run, histories in found.items()}
    return [_curves(run, histories) for run, histories in shown.items() if histories]


def _members(path: Path) -> list[list[Mapping[str, float]]]:
    """The lines of a history, one list for each member of an ensemble."""
    lines = training_history.read(path)
    if any("step" not in line or "loss" not in line for line in lines):
        raise Error(f"{path}: not the history of a training (no step or loss); run `dvc repro` to write it anew")
    return [list(group) for _, group in itertools.groupby(lines, lambda line: line.get("member", 0.0))]


def _curves(run: str, histories: Sequence[Sequence[Mapping[str, float]]]) -> Curves:
    losses = [_points(history, "loss") for history in histories]
    errors = [("training", _error(history, "right", 100.0)) for history in histories]
    others = sorted({name for history in histories for line in history for name in line if "accuracy_pct" in name})
    errors += [("other", _error(history, name, 1.0)) for name in others for history in histories]
    drawn = [("loss", [("training", points) for points in losses]), ("wrong, %", errors)]
    steps = [step for points in losses for step, _ in points]
    panels = [_panel(title, kinds, steps) for title, kinds in drawn if any(points for _, points in kinds)]
    last = [points[-1][1] for points in losses]
    text = f"{len(histories)} training{'s' if len(histories) > 1 else ''} of up to {max(steps):,.0f} steps. "
    text += f"The loss ends at {_span(last)}"
    text += "".join(f"; {_words(name)} at {_span(_ends(histories, name))} %" for name in others)
    return Curves(run, text + ".", panels)


def _points(history: Iterable[Mapping[str, float]], name: str) -> Points:
    """What a logarithmic axis can show of a column."""
    return [(line["step"], line[name]) for line in history if name in line and 0 < line[name] < math.inf]


def _error(history: Iterable[Mapping[str, float]], name: str, factor: float) -> Points:
    """An accuracy as an error in percent."""
    known = [line for line in history if name in line and math.isfinite(line[name])]
    return [(line["step"], max(100.0 - factor * line[name], _LEAST)) for line in known]


def _panel(title: str, kinds: Sequence[tuple[str, Points]], steps: Sequence[float]) -> Panel:
    thinned = [(kind, _thinned(points)) for kind, points in kinds if points]
    across = axes.linear([0.0, *steps], most=5)
    up = axes.logarithmic(value for _, points in thinned for _, value in points)
    curves = [(kind, " ".join(_place(across, up, *point) for point in points)) for kind, points in thinned]
    return Panel(
        title,
        curves,
        [(_x(across, tick), f"{tick:,.0f}") for tick in across.ticks],
        [(_y(up, tick), f"{tick:g}") for tick in up.ticks],
    )


def _thinned(points: Points) -> Points:
    """At most `MOST` points: the means of equally many neighbours."""
    size = math.ceil(len(points) / MOST)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def _place(across: Axis, up: Axis, step: float, value: float) -> str:
    return f"{_x(across, step):g},{_y(up, value):g}"


def _x(axis: Axis, value: float) -> float:
    return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * axis.place(value) / 100, 1)


def _y(axis: Axis, value: float) -> float:
    return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * axis.place(value) / 100, 1)


def _ends(histories: Sequence[Sequence[Mapping[str, float]]], name: str) -> list[float]:
    return [history[-1][name] for history in histories if name in history[-1]]


def _span(values: Sequence[float]) -> str:
    ends = [f"{end:.4g}" for end in (min(values), max(values))]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _words(name: str) -> str:
    """`stop_accuracy_pct` as words: the accuracy that ends a training is on expanded MNIST."""
    return {"stop_accuracy_pct": "the accuracy on expanded MNIST"}.get(
        name, name.removesuffix("_pct").replace("_", " ")
    )
