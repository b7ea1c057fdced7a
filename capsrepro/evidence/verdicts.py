"""The rule that turns a measured interval into a verdict on a number of the paper."""

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
    """A word, and what else stands beside it: what the run changed, or why there is none."""

    word: str
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`reproduced (14k steps, bfloat16)`; `not run: source unreachable`."""
        if self.word == "not run":
            return ": ".join((self.word, *self.remarks))
        return f"{self.word} ({', '.join(self.remarks)})" if self.remarks else self.word


def measured(row: Row, results: Sequence[Result]) -> list[float]:
    """What the row measures, in percent, for each result: its error, or 100 less it for an accuracy."""
    errors = [100 * result.wrong / result.examples for result in results]
    return [100 - error for error in errors] if row.is_accuracy else errors


def interval(row: Row, results: Sequence[Result]) -> tuple[float, float]:
    """The 95 % interval in percent of what the row measures: Wilson's for one result, Student's for several."""
    if len(results) > 1:
        return student(measured(row, results))
    low, high = wilson(results[0].wrong, results[0].examples)
    return (100 - high, 100 - low) if row.is_accuracy else (low, high)


def compare(row: Row, low: float, high: float) -> str:
    """The rule of PAPER.md for an interval in percent: `reproduced`, `better`, `missed` or `inconclusive`.

    `reproduced`: it lies within the paper's value ± margin, ends included; `better` and `missed`: all of it lies on the
    better or worse side of that band.
    """
    # Rounded, so that 5.2 + 1.0 and what was measured as 6.2 meet.
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
        results: the run of this name at one scale, one for each seed; none: `not run`.
        settings: what params.yaml says of the run at that scale now, as JSON holds it; None: it no longer has it.
        paper_settings: the same at the scale `paper`, which the steps are compared with, and the widths.
        reason: why it was not run.

    Returns:
        The first that holds of `not run`, `stale` (trained or evaluated with other settings), `not reached` (the stop
        that the run declares), `quick` (not the paper's architecture or not all of the data); else the word of
        `compare` and what the run changed beside that.
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
    """Whether a result was trained, or evaluated, with other settings than `settings`.

    A setting that came into being after the training counts as its default in params.py: what was done before it was.
    A precision of `auto` is whatever the device made of it.
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
    """Whether a result is of the paper's architecture, trained on the whole training set, tested on the whole test set.

    Where the paper gives no parameter count, the widths have to be those of the scale `paper`.
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
    """What results that are not stale, and so have equal settings, changed without changing what the row is."""
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
    """Said whatever the verdict: that the test set is not the published one."""
    return (f"built {DATA[row.data].title}",) if any(result.built for result in results) else ()


def _plain(value: Any) -> Any:
    """A value as JSON holds it."""
    return list(value) if isinstance(value, tuple) else value
