"""Reads the plans in results/plan.csv; a result that is in no plan is `unplanned`.

A plan is committed before the runs start. It fixes the seeds, the length of the training and its end, so that nobody
can go on adding seeds until the result pleases.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from capsrepro.core.errors import Error
from capsrepro.core.params import MOST_SEED, Params
from capsrepro.core.paths import RunPaths
from capsrepro.core.validation import CONFIG
from capsrepro.evidence import csv_rows
from capsrepro.evidence.paper import Count
from capsrepro.evidence.results import Result

UNPLANNED, UNFINISHED = "unplanned", "planned seeds"


def _seeds(cell: Any) -> tuple[int, ...]:
    seeds = tuple(int(word) for word in str(cell).split())
    if not seeds or min(seeds) < 0 or max(seeds) > MOST_SEED or len(set(seeds)) < len(seeds):
        raise ValueError(cell)
    return seeds


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Plan:
    """The seeds of one run at one scale: a row of plan.csv.

    `stop_pct`: the accuracy on expanded MNIST at which training ends; None: it ends after `steps`. `why`: the purpose
    of the runs, or the reason for the number of seeds. `commit`: the commit before the plan; the runs come later.
    """

    scale: str
    run: str
    seeds: Annotated[tuple[int, ...], BeforeValidator(_seeds)]
    steps: Count
    decay_steps: Count
    stop: str
    stop_pct: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    why: str
    commit: Annotated[str, Field(pattern="^[0-9a-f]{7,40}$")]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.stop == "accuracy") != (self.stop_pct is not None) or self.stop not in ("steps", "accuracy"):
            raise ValueError(f"stop is `steps`, or `accuracy` with a stop_pct, received {self.stop}, {self.stop_pct}")
        return self

    def names(self, result: Result) -> bool:
        """Whether the plan has this result: its scale, run, seed, length of training and stopping rule."""
        same = (self.scale, self.run) == (result.scale, result.run) and result.seed in self.seeds
        return same and not self.differing(result.settings)

    def differing(self, settings: Mapping[str, Any]) -> list[str]:
        """The settings of length and end that are not the planned ones, as `steps 4000, planned 5000`."""
        planned = {"steps": self.steps, "decay_steps": self.decay_steps, "stop_pct": self.stop_pct}
        return [
            f"{name} {settings.get(name)}, planned {value}"
            for name, value in planned.items()
            if settings.get(name) != value
        ]


def read(path: Path, *, needed: bool = False) -> list[Plan]:
    """Reads and checks the plans; empty if there is no such file and it is not needed.

    Raises:
        Error: the file is needed and missing, or malformed, or a seed of a run is planned twice; the message names the
            line and the column.
    """
    plans: list[Plan] = []
    for where, plan in csv_rows.read(path, Plan, _EXPECTED) if needed or path.exists() else []:
        for other in plans:
            if (plan.scale, plan.run) == (other.scale, other.run) and set(plan.seeds) & set(other.seeds):
                raise Error(f"{where}, seeds: one of {plan.run} is planned in an earlier line too; plan each once")
        plans.append(plan)
    return plans


def remarks(plans: Sequence[Plan], results: Sequence[Result]) -> tuple[str, ...]:
    """What is said of the plan beside a verdict: `unplanned`, or `2 of 5 planned seeds`.

    Args:
        plans: of `read`.
        results: all that the verdict is about, of one run or several.
    """
    if any(is_unplanned(plans, one) for one in results):
        return (UNPLANNED,)
    words = []
    for run in dict.fromkeys(one.run for one in results):
        own = [one for one in results if one.run == run]
        planned = {seed for line in plans if any(line.names(one) for one in own) for seed in line.seeds}
        if len(done := {one.seed for one in own}) < len(planned):
            words.append(f"{len(done)} of {len(planned)} {UNFINISHED}")
    return tuple(dict.fromkeys(words))


def unfinished(plans: Sequence[Plan], scale: str, results: Sequence[Result]) -> str:
    """A sentence on how far the plan of a scale is; empty: nothing is left to do."""
    lines = [line for line in plans if line.scale == scale]
    planned = sum(len(line.seeds) for line in lines)
    done = sum(any(line.names(one) for line in lines) for one in results)
    return f"Preliminary: {done} of {planned} planned trainings are done." if done < planned else ""


def is_unplanned(plans: Sequence[Plan], result: Result) -> bool:
    """Whether a result is in no plan.

    Metrics without `counted_in` are older than the first plan, hence unplanned. The authors' published checkpoints need
    no plan.
    """
    if result.scale == "released":
        return False
    return not result.counted_in or not any(plan.names(result) for plan in plans)


def trainings(plans: Sequence[Plan], scale: str, known: Params, runs: Collection[str] = ()) -> list[RunPaths]:
    """The planned trainings of a scale, in the order in which a campaign runs them.

    Lines in a row that share a data set are taken seed by seed, so that wherever a campaign stops, claims have pairs of
    seeds: the first seed of every line, then the second of every line.

    Args:
        plans: of `read`.
        scale: the scale.
        known: the settings.
        runs: only these; empty: all.

    Raises:
        Error: a scale is unknown, no line is about one of the runs at this one, or a planned run has no settings at it,
            or others than planned: its results would be `unplanned`.
    """
    for name in [scale, *(line.scale for line in plans)]:
        known.of_scale(name)
    lines = [line for line in plans if line.scale == scale and (not runs or line.run in runs)]
    if unknown := sorted(set(runs) - {line.run for line in lines}):
        raise Error(f"plan.csv: no line about {unknown[0]} at the scale {scale}; add one, or name another run")
    data = {}
    for line in lines:
        try:
            settings = known.settings(line.run, scale)
        except Error as fault:
            raise Error(f"plan.csv, {line.run}: {fault}; correct the plan, or add what is unknown") from fault
        if differing := line.differing(settings.as_json()):
            raise Error(f"{line.run} at the scale {scale}: {differing[0]}; make params.yaml and plan.csv say the same")
        data[line.run] = settings.data
    order: list[RunPaths] = []
    for _, group in itertools.groupby(lines, lambda line: data[line.run]):
        each = [[RunPaths(line.scale, line.run, seed) for seed in line.seeds] for line in group]
        order += [where for turn in itertools.zip_longest(*each) for where in turn if where is not None]
    return order


_EXPECTED = {
    "scale": "a scale of params.yaml",
    "run": "a run of params.yaml",
    "seeds": "whole numbers between spaces, each once",
    "steps": "a whole number above 0",
    "decay_steps": "a whole number above 0",
    "stop_pct": "a number from 0 to 100",
    "why": "the purpose of the runs",
    "commit": "7 to 40 digits of a commit in lower case",
}
