"""Other runs: runs of params.yaml that are no row of the paper, each compared with the run that it is `like`."""

import dataclasses
import math
from typing import Any

from capsrepro.core.params import Params
from capsrepro.evidence import claim_results, comparison, lined, plan, tables
from capsrepro.evidence.claims import OPEN
from capsrepro.evidence.deviations import is_stale, shown
from capsrepro.evidence.paper import Row
from capsrepro.evidence.scale import Scale

TITLE = "Other runs"
ABOUT = (
    "Runs that are no row of the paper, each beside the run that its `like` in params.yaml names, both with the same "
    "seeds. *difference*: the test error less that of `like`, in points (for affNIST too), with its 95 % interval, as "
    "for the claims; *better*, *worse*: the interval excludes 0; *no difference shown*: it does not; *cannot "
    "tell*: one was trained for longer."
)
SHOWN = ("run", "like", "changed", "measured", "of `like`", "difference", "95 % interval", "verdict")
ALIGNMENT = ("left", "left", "left", "right", "right", "right", "right", "left")


def markdown(known: Params, ours: Scale) -> list[str]:
    """A heading, the meaning of the words and the table of `lines`, as blocks; nothing where there are no such runs.

    Raises:
        Error: kept answers are damaged; the message names the file.
    """
    found = lines(known, ours)
    return [f"## {TITLE}", ABOUT, lined.table(found, SHOWN, ALIGNMENT)] if found else []


def lines(known: Params, ours: Scale) -> list[list[str]]:
    """A line of text in the columns `SHOWN` for each run with settings or results at a scale and no row of the paper.

    Raises:
        Error: kept answers are damaged; the message names the file.
    """
    names = dict.fromkeys([*ours.settings, *(one.run for one in ours.results)])
    return [_line(known, ours, name) for name in names if name not in ours.rows]


def _line(known: Params, ours: Scale, name: str) -> list[str]:
    like = known.runs[name].like if name in known.runs else None
    cells = [name, like or "", _changed(ours, name, like), _measured(ours, name), _measured(ours, like)]
    if (why := _incomparable(ours, name, like)) is not None:
        return [*cells, "", "", why]
    first, second = ours.of(name), ours.of(like or "")
    seeds = {one.seed for one in first} & {one.seed for one in second}
    if not seeds:
        return [*cells, "", "", f"lacks a seed that {like} has too"]
    effect, told = claim_results.difference(
        ours, *([one for one in side if one.seed in seeds] for side in (first, second))
    )
    if effect is None:
        return [*cells, "", "", "; ".join(told)]
    word = "better" if effect.high < 0 else "worse" if effect.low > 0 else "no difference shown"
    if len({one.images_trained for one in (*first, *second)}) > 1:
        word, told = OPEN, (*told, "unequal steps")
    told += plan.remarks(ours.plans, [*first, *second])
    span = "" if math.isinf(effect.low) else f"{effect.low:+.2f} to {effect.high:+.2f}"
    remarks = f" ({', '.join(told)})" if told else ""
    return [*cells, lined.signed(effect.effect), span, word + remarks]


def _incomparable(ours: Scale, name: str, like: str | None) -> str | None:
    """The verdict on a run without a comparison; None if there is one to be made."""
    if not ours.of(name):
        return f"not run{f': {ours.reasons[name]}' if name in ours.reasons else ''}"
    if any(is_stale(one, ours.settings.get(one.run)) for one in (*ours.of(name), *ours.of(like or ""))):
        return "stale"
    if not all(one.stop_reached for one in (*ours.of(name), *ours.of(like or ""))):
        return "not reached"
    if like is None:
        return "not compared (its `like` names no run)"
    if not ours.of(like):
        return f"lacks {like}"
    tested = {(one.settings.get("data"), one.settings.get("validate")) for one in (*ours.of(name), *ours.of(like))}
    return None if len(tested) == 1 else f"tested on other images than {like}"


def _changed(ours: Scale, name: str, like: str | None) -> str:
    """The settings that differ from those of `like`: `routing 2 (3)`."""
    mine, other = ours.settings.get(name), ours.settings.get(like or "")
    if mine is None or other is None:
        return ""
    return ", ".join(f"{key} {shown(mine[key])} ({shown(other[key])})" for key in mine if mine[key] != other[key])


def _measured(ours: Scale, name: str | None) -> str:
    """The error of a run, or its accuracy on affNIST, formatted as in the table of the paper's rows."""
    if name is None or not ours.of(name):
        return ""
    data: Any = ours.of(name)[0].settings.get("data")
    measure: Any = "test_accuracy_pct" if data == "affnist" else "test_error_pct"
    row = Row(id=name, where="", what="", data=data, measure=measure, value=0.0, margin=1.0, margin_reason="")
    table = comparison.build(dataclasses.replace(ours, rows={name: row}))
    return str(tables.display(table)["measured"].iloc[0])
