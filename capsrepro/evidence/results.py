"""Builds, reads and checks results: the metrics of a run, and the part of its provenance that a verdict needs."""

from collections.abc import Iterable
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from capsrepro.core import files, not_run, paths
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.core.text import one_line
from capsrepro.core.validation import Count, Flag, Natural, Number, Text, shown, validated
from capsrepro.evidence.intervals import wilson

REMEDY = "run `dvc repro` to write it anew"
_CONFIG = ConfigDict(extra="ignore")  # the files hold more than a verdict needs


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Metrics:
    """The evaluation of one run with one seed, read from its metrics file."""

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
    built: Flag = False  # True: the test set was built by its published recipe, as the published files were unavailable
    counted_in: Text = ""  # precision of the forward passes; older files lack it, see `Result.counted_precision`
    test_sha256: Text = ""  # of the test images and labels as the network was given them
    stop_accuracy_pct: Number | None = None  # affNIST: accuracy on expanded MNIST's test set at the end of training
    rounded_from: Text = ""  # sha256 of the weights as trained, where rounded ones were evaluated
    digits_wrong: Natural = 0  # of pairs
    digit_error_pct: Number = 0.0


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Provenance:
    """The origin of the weights, read from the provenance file of the same name."""

    settings: dict[str, Any]  # the run's settings at training time, as JSON values
    data_sha256: Text
    train_examples: Natural
    steps_done: Natural | None = None  # really done, summed over the members of an ensemble
    stop_reached: Flag = True  # False: the run declares a stopping accuracy and did not reach it
    device: Text = ""
    train_seconds: Number | None = None
    images_per_second: Number | None = None
    git_revision: Text = ""
    git_dirty: Flag | None = None
    trained_sha256: Text = ""  # of the weights at the end of the training; older files lack it
    data: Text = ""
    backend: Text = "tensorflow"
    peak_memory_mb: Number = 0.0
    versions: dict[Text, Text] = field(default_factory=dict)
    arithmetic: dict[Text, Text] = field(default_factory=dict)


@dataclass(frozen=True, config=_CONFIG)
class _Origin:
    """Whose provenance a file is; files older than these keys lack them."""

    run: Text | None = None
    seed: Natural | None = None
    scale: Text | None = None


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Result(Metrics, Provenance):
    """Metrics and provenance of one run with one seed."""

    @property
    def name(self) -> str:
        """The stem of its files: `run-seedN`."""
        return paths.stem(self.run, self.seed)

    @property
    def steps_trained(self) -> int:
        """The steps that one member was really trained for: fewer than its limit where a run stops early."""
        members = self.settings.get("members")
        return self.steps if self.steps_done is None else self.steps_done // max(1, _whole(members))

    @property
    def images_trained(self) -> int:
        """The images that one member was shown, repeated ones counted each time."""
        return self.steps_trained * _whole(self.settings.get("batch_size"))

    @property
    def trained_precision(self) -> str:
        """The precision of the training, `float32` or `mixed_bfloat16`."""
        return str(self.settings.get("precision", "float32"))

    @property
    def counted_precision(self) -> str:
        """The precision of the evaluation; before metrics named it, that of the training."""
        return self.counted_in or self.trained_precision

    @property
    def of_other_weights(self) -> bool:
        """Whether the evaluated weights are not those of the training that the provenance is of.

        Weights restored from half precision have two hashes: `weights_sha256` is then that of the rounded ones, which
        an evaluation names beside `rounded_from`.
        """
        counted = self.rounded_from or self.weights_sha256
        return bool(self.trained_sha256) and counted != self.trained_sha256


class Score(Protocol):
    """Interface of `network.evaluation.Score`, repeated here because importing it would load a framework."""

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
    """Builds the content of a metrics file, except for run, seed and scale.

    Equal weights and data give equal metrics.

    Args:
        run: settings of the run.
        score: the counts on the test set.
        parameters: number of parameters; for an ensemble, of one member.
        steps: number of updates actually made; for an ensemble, by one member.
        weights_sha256: SHA-256 of the weights.
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
        scale: name of the scale.

    Returns:
        The results, sorted by run and seed; empty if there are no metrics. A run that was not run is left out, see
        `core.not_run`.

    Raises:
        Error: a file is malformed, or its run, seed or scale contradicts its path. The message names file and key.
    """
    listed = sorted((folder / scale / "metrics").glob("*.json"))
    found = [_read(path, scale, content) for path in listed if not_run.KEY not in (content := files.read_json(path))]
    return sorted(found, key=lambda result: (result.run, result.seed))


def check(results: Iterable[Result], scale: str) -> None:
    """Checks that the results may be compared in one table.

    Raises:
        Error: the results mix scales, recipes of one run, or copies of one data set, or the metrics of a result are of
            other weights than its provenance.
    """
    recipes: dict[str, Result] = {}
    copies: dict[str, Result] = {}
    for result in results:
        if result.of_other_weights:
            both = f"weights {result.weights_sha256[:12]}, its provenance is of {result.trained_sha256[:12]}"
            raise Error(f"{result.name}: its metrics are of {both}; run `dvc repro` to evaluate it anew")
        if result.scale != scale:
            other = f"of scale {shown(result.scale)} in a table of scale {scale!r}"
            raise Error(f"{result.name}: {other}; make a table for each scale")
        first = recipes.setdefault(result.run, result)
        if result.recipe != first.recipe:
            both = f"recipe {shown(result.recipe)}, but seed {first.seed} followed {shown(first.recipe)}"
            raise Error(f"{result.name}: {both}; run `dvc repro` to train both alike")
        data = one_line(result.settings.get("data"))
        first = copies.setdefault(data, result)
        if result.data_sha256 != first.data_sha256:
            both = f"sha256 {result.data_sha256[:12]}, but {first.name} {first.data_sha256[:12]}"
            raise Error(f"{result.name}: trained on {data} of {both}; run `dvc repro` to train both on the same data")


def _read(path: Path, scale: str, content: dict[str, Any]) -> Result:
    beside = path.parents[1] / "provenance" / path.name
    origin = files.read_json(beside)
    metrics: Metrics = validated(Metrics, content, str(path), remedy=REMEDY)
    provenance: Provenance = validated(Provenance, origin, str(beside), remedy=REMEDY)
    result = Result(**vars(metrics), **vars(provenance))
    _check_names(path, (result.scale, result.run, result.seed), (scale, path.stem))
    of: _Origin = validated(_Origin, origin, str(beside), remedy=REMEDY)
    told = (of.scale or scale, of.run or result.run, result.seed if of.seed is None else of.seed)
    _check_names(beside, told, (scale, path.stem))
    if result.wrong > result.examples:
        raise Error(f"{path}, wrong: {result.wrong} of {result.examples} examples cannot be; {REMEDY}")
    if abs(result.test_error_pct - 100 * result.wrong / result.examples) > 0.001:
        counted = f"{result.wrong} of {result.examples} wrong"
        raise Error(f"{path}, test_error_pct: {result.test_error_pct} is not {counted}; {REMEDY}")
    return result


def _check_names(path: Path, received: tuple[str, str, int], expected: tuple[str, str]) -> None:
    """Checks that scale, run and seed in a file are those of its path: the scale and the stem of the file."""
    scale, run, seed = received
    if (scale, paths.stem(run, seed)) != expected:
        found = f"scale {shown(scale)}, run {shown(run)}, seed {seed}"
        raise Error(f"{path}: expected the scale, run and seed of its path, received {found}; {REMEDY}")


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
