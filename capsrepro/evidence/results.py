"""Results: the metrics of a run and what of its provenance a verdict needs, written and read in one place."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from capsrepro.core import files, paths
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.core.validation import Count, Flag, Natural, Number, Text, validated
from capsrepro.evidence.intervals import wilson

REMEDY = "run `dvc repro` to write it anew"
_CONFIG = ConfigDict(extra="ignore")  # the files hold more than a verdict needs


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Metrics:
    """What one run with one seed is worth: of its metrics file."""

    run: Text
    seed: Natural
    scale: Text
    recipe: Text
    routing: Count | None
    reconstruction: Flag
    wrong: Natural
    examples: Count
    test_error_pct: Number
    wilson_low_pct: Number
    wilson_high_pct: Number
    parameters: Count
    steps: Count
    weights_sha256: Text
    built: Flag = False  # the test set was built by a published recipe, since the published one was not to be had


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Provenance:
    """What its weights came from: of the provenance file of the same name."""

    settings: dict[str, Any]  # the run's settings when it was trained, as JSON holds them
    data_sha256: Text
    train_examples: Natural
    stop_reached: Flag = True  # False: trained until an accuracy that it did not reach
    device: Text = ""
    train_seconds: Number | None = None
    images_per_second: Number | None = None
    git_revision: Text = ""


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Result(Metrics, Provenance):
    """One run with one seed."""

    @property
    def name(self) -> str:
        """`run-seedN`, as its files are called."""
        return paths.stem(self.run, self.seed)


class Score(Protocol):
    """What an evaluation counts, see `network.evaluation.Score`."""

    @property
    def wrong(self) -> int: ...  # noqa: D102
    @property
    def examples(self) -> int: ...  # noqa: D102
    @property
    def digits(self) -> int: ...  # noqa: D102
    @property
    def digits_wrong(self) -> int: ...  # noqa: D102
    @property
    def error_pct(self) -> float: ...  # noqa: D102
    @property
    def digit_error_pct(self) -> float: ...  # noqa: D102


def metrics(run: RunConfig, score: Score, parameters: int, steps: int, weights_sha256: str) -> dict[str, Any]:
    """What a metrics file says of a run beside its name, seed and scale: equal for equal weights and data.

    Args:
        run: its settings.
        score: on the test set.
        parameters: of one member where the network is an ensemble.
        steps: the updates of one member that were really done.
        weights_sha256: of the weights.
    """
    low, high = wilson(score.wrong, score.examples)
    facts = {
        "recipe": run.recipe,
        "routing": run.routing,
        "reconstruction": run.reconstruction,
        "wrong": score.wrong,
        "examples": score.examples,
        "test_error_pct": score.error_pct,
        "wilson_low_pct": round(low, 4),
        "wilson_high_pct": round(high, 4),
    }
    if score.digits > 1:
        facts |= {"digits_wrong": score.digits_wrong, "digit_error_pct": score.digit_error_pct}
    return facts | {"parameters": parameters, "steps": steps, "weights_sha256": weights_sha256}


def read(folder: Path, scale: str) -> list[Result]:
    """Reads the metrics of a scale and the provenance beside them.

    Args:
        folder: holds a folder for each scale.
        scale: which one.

    Returns:
        In the order of run and seed; none where there are no metrics.

    Raises:
        Error: a file is malformed, or not about the run, seed and scale that its path says; it names file and key.
    """
    found = [_read(path, scale) for path in sorted((folder / scale / "metrics").glob("*.json"))]
    return sorted(found, key=lambda result: (result.run, result.seed))


def check(results: Iterable[Result], scale: str) -> None:
    """Refuses what one table must not mix.

    Raises:
        Error: results of different scales, of one run with different recipes, or on different copies of one data set.
    """
    recipes: dict[str, Result] = {}
    copies: dict[str, Result] = {}
    for result in results:
        if result.scale != scale:
            other = f"of scale {result.scale!r} in a table of scale {scale!r}"
            raise Error(f"{result.name}: {other}; make a table for each scale")
        first = recipes.setdefault(result.run, result)
        if result.recipe != first.recipe:
            both = f"recipe {result.recipe!r}, but seed {first.seed} followed {first.recipe!r}"
            raise Error(f"{result.name}: {both}; run `dvc repro` to train both alike")
        data = str(result.settings.get("data"))
        first = copies.setdefault(data, result)
        if result.data_sha256 != first.data_sha256:
            both = f"sha256 {result.data_sha256[:12]}, but {first.name} {first.data_sha256[:12]}"
            raise Error(f"{result.name}: trained on {data} of {both}; run `dvc repro` to train both on the same data")


def _read(path: Path, scale: str) -> Result:
    beside = path.parents[1] / "provenance" / path.name
    metrics: Metrics = validated(Metrics, files.read_json(path), str(path), remedy=REMEDY)
    provenance: Provenance = validated(Provenance, files.read_json(beside), str(beside), remedy=REMEDY)
    result = Result(**vars(metrics), **vars(provenance))
    if (result.scale, result.name) != (scale, path.stem):
        found = f"scale {result.scale!r}, run {result.run!r}, seed {result.seed}"
        raise Error(f"{path}: expected the scale, run and seed of its path, received {found}; {REMEDY}")
    if result.wrong > result.examples:
        raise Error(f"{path}, wrong: {result.wrong} of {result.examples} examples cannot be; {REMEDY}")
    if abs(result.test_error_pct - 100 * result.wrong / result.examples) > 0.001:
        counted = f"{result.wrong} of {result.examples} wrong"
        raise Error(f"{path}, test_error_pct: {result.test_error_pct} is not {counted}; {REMEDY}")
    return result
