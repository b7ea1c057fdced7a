"""Loads everything about one scale: results, settings, plans and stored predictions."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capsrepro.core import not_run, paths, training_history
from capsrepro.core.errors import Error
from capsrepro.core.params import Params
from capsrepro.core.validation import Name, validated
from capsrepro.evidence import paper, plan, predictions, results
from capsrepro.evidence.paper import Row
from capsrepro.evidence.plan import Plan
from capsrepro.evidence.predictions import Predictions
from capsrepro.evidence.results import Result


@dataclasses.dataclass(frozen=True)
class Scale:
    """The results of one scale and what they are compared with.

    Attributes:
        name: the name of the scale, such as `full`.
        folder: holds paper.csv and a folder for each scale.
        rows: the paper's numbers by id.
        results: one for each run and seed.
        settings: the current settings of each run at this scale, as JSON values.
        paper_settings: the same at the scale `paper`.
        reasons: why a run has no result, by run.
        plans: the plans of all scales.
    """

    name: str
    folder: Path
    rows: Mapping[str, Row]
    results: Sequence[Result]
    settings: Mapping[str, Mapping[str, Any]]
    paper_settings: Mapping[str, Mapping[str, Any]]
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    plans: Sequence[Plan] = ()

    def of(self, run: str) -> list[Result]:
        """The results of a run, one for each seed."""
        return [result for result in self.results if result.run == run]

    def predictions_path(self, result: Result) -> Path:
        """The path of the stored predictions of a result; the file may not exist."""
        return self.folder / self.name / "predictions" / f"{result.name}.npz"

    def predictions(self, result: Result) -> Predictions | None:
        """The stored predictions of a result; None if there are none.

        Raises:
            Error: the file is damaged, or its count of wrong examples differs from the metrics.
        """
        path = self.predictions_path(result)
        if not path.is_file():
            return None
        found = predictions.read(path)
        counted, expected = (predictions.wrong(found), len(found.labels)), (result.wrong, result.examples)
        if counted != expected:
            counts = "{} of {} wrong, but its metrics say {} of {}".format(*counted, *expected)
            raise Error(f"{path}: {counts}; run `dvc repro` to evaluate it anew")
        return found

    def last_line(self, result: Result, columns: Sequence[str]) -> list[float] | None:
        """Values of the last line of a training's history; None if the file or a value is missing.

        Raises:
            Error: the file is not CSV, or a value is no number.
        """
        path = self.folder / self.name / "history" / f"{result.name}.csv"
        if not path.is_file():
            return None
        last = training_history.last(path)
        return [last[name] for name in columns] if all(name in last for name in columns) else None

    def check(self) -> None:
        """Checks that the results may stand in one table (`results.check`) and recounts the stored predictions.

        Raises:
            Error: one line that names the run or the file.
        """
        results.check(self.results, self.name)
        for result in self.results:
            self.predictions(result)


def home(folder: Path, scale: str) -> Path:
    """The folder that holds the results of a scale: `folder`, or where it has none the published results."""
    return paths.found(folder / scale, holding="metrics").parent


def load(known: Params, folder: Path, scale: str, strict: bool = False) -> Scale:
    """Reads everything of one scale, from its `home`.

    Args:
        known: the parameter file.
        folder: holds paper.csv and perhaps plan.csv, and a folder for each scale.
        scale: which one.
        strict: whether `Scale.check` must pass.

    Raises:
        Error: nothing knows of the scale, a file is malformed, or `Scale.check` raises.
    """
    validated(Name, scale, "the scale", remedy="choose an entry under `scale_settings`")  # it names a folder
    results_of = home(folder, scale)
    if scale not in known.scale_settings and not (results_of / scale).is_dir():
        names = ", ".join(known.scale_settings)
        raise Error(f"unknown scale {scale!r}; known to the parameter file: {names}")
    loaded = Scale(
        scale,
        results_of,
        paper.read(paths.found(folder / "paper.csv")),
        results.read(results_of, scale),
        settings(known, scale),
        settings(known, "paper"),
        not_run.read(results_of, scale),
        plan.read(results_of / "plan.csv"),
    )
    if strict:
        loaded.check()
    return loaded


def settings(known: Params, scale: str) -> dict[str, dict[str, Any]]:
    """The settings of each run at a scale, as JSON values; runs without an entry at that scale are omitted."""
    runs = [name for name in known.runs if name in known.scale_settings.get(scale, {})]
    return {name: known.settings(name, scale).as_json() for name in runs}
