"""Judges each number of the paper from a measured interval."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from capsrepro.core.params import RunConfig
from capsrepro.evidence.intervals import student, wilson
from capsrepro.evidence.paper import DATA, Row
from capsrepro.evidence.results import Result

WIDTHS = ("conv_channels", "primary_types", "dense_units")  # the settings of a scale that change the architecture
_ABSENT = object()


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A verdict and its remarks: how the run deviates from the paper's, or why it was not run."""

    word: str
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Formats verdict and remarks: `reproduced (14k steps, bfloat16)`, `not run: source unreachable`."""
        if self.word == "not run":
            return ": ".join((self.word, *self.remarks))
        return f"{self.word} ({', '.join(self.remarks)})" if self.remarks else self.word


def measured(row: Row, results: Sequence[Result]) -> list[float]:
    """The measure of the row in percent for each result: its error, or 100 minus the error for an accuracy."""
    errors = [100 * result.wrong / result.examples for result in results]
    return [100 - error for error in errors] if row.is_accuracy else errors


def interval(row: Row, results: Sequence[Result]) -> tuple[float, float]:
    """The 95 % interval of the row's measure in percent: Wilson's for one result, Student's for several."""
    if len(results) > 1:
        return student(measured(row, results))
    low, high = wilson(results[0].wrong, results[0].examples)
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
) -> Verdict:
    """Judges one number of the paper.

    Args:
        row: the paper's number.
        results: the results of this run at one scale, one for each seed; may be empty.
        settings: the run's current settings in params.yaml at that scale, as JSON values; None: no longer listed.
        paper_settings: the same at the scale `paper`; steps and widths are compared with them.
        reason: why the run has no result.

    Returns:
        The first of these that applies: `not run` (no results); `stale` (trained or evaluated with other settings);
        `not reached` (training missed its declared stopping accuracy); `quick` (not the paper's architecture, or part
        of the data). Otherwise the verdict of `compare`, with the run's deviations as remarks.
    """
    if not results:
        return Verdict("not run", (reason,) if reason else ())
    if any(is_stale(result, settings) for result in results):
        return Verdict("stale")
    if not all(result.stop_reached for result in results):
        return Verdict("not reached")
    if not all(is_whole(row, result, paper_settings) for result in results):
        return Verdict("quick", _built(row, results))
    return Verdict(compare(row, *interval(row, results)), _changes(row, results, paper_settings))


def is_stale(result: Result, settings: Mapping[str, Any] | None) -> bool:
    """Whether a result was trained or evaluated with settings other than `settings`.

    A setting that was added after the training counts as its default in params.py, which keeps the earlier behaviour.
    A precision of `auto` matches any, since the device decides it.
    """
    if settings is None:
        return True
    defaults = {field.name: field.default for field in dataclasses.fields(RunConfig)}
    trained = {name: result.settings.get(name, defaults.get(name, _ABSENT)) for name in settings}
    evaluated = {name: getattr(result, name) for name in ("recipe", "routing", "reconstruction", "steps")}
    return (
        any(
            _plain(trained[name]) != value for name, value in settings.items() if (name, value) != ("precision", "auto")
        )
        or not result.settings.keys() <= settings.keys()
        or any(settings.get(name, value) != value for name, value in evaluated.items())
    )


def is_whole(row: Row, result: Result, paper_settings: Mapping[str, Any] | None) -> bool:
    """Whether a result has the paper's architecture and used the whole training and test sets.

    If the paper gives no parameter count, the widths must be those of the scale `paper`.
    """
    if row.parameters is None:
        narrow = paper_settings is None or any(result.settings.get(k) != paper_settings.get(k) for k in WIDTHS)
    else:
        narrow = result.parameters != row.parameters
    other = result.routing != row.routing or row.decoder not in (None, result.reconstruction)
    sizes = (result.train_examples, result.examples) != (DATA[row.data].train, DATA[row.data].test)
    # With `validate`, 10,000 of the training images are held out and tested on.
    return not (narrow or other or sizes or result.settings.get("validate", False))


def _changes(row: Row, results: Sequence[Result], paper_settings: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The deviations of a run that leave its row comparable; its results have equal settings, as none is stale."""
    result = results[0]
    changes = []
    if paper_settings is not None and result.steps < paper_settings.get("steps", 0):
        changes.append(f"{result.steps / 1000:g}k steps" if result.steps >= 1000 else f"{result.steps} steps")
    if any(other.settings.get("precision") == "mixed_bfloat16" for other in results):
        changes.append("bfloat16")
    if result.settings.get("average") is not None:
        changes.append("averaged weights")
    if result.recipe != "paper":
        changes.append(f"{result.recipe} recipe")
    for part in ("loss", "layers"):
        if (other := result.settings.get(f"{part}_recipe")) not in (None, result.recipe):
            changes.append(f"{other} {part}")
    return (*changes, *_built(row, results))


def _built(row: Row, results: Sequence[Result]) -> tuple[str, ...]:
    """A remark, whatever the verdict, if the test set was built instead of downloaded."""
    return (f"built {DATA[row.data].title}",) if any(result.built for result in results) else ()


def _plain(value: Any) -> Any:
    """A value as JSON represents it: tuples as lists."""
    return list(value) if isinstance(value, tuple) else value
