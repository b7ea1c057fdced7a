"""Lists the trainings of the ablations, each once, and reads the files that store their counts."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from capsrepro.ablations import cases
from capsrepro.ablations.cases import CASES, Ablation, Side
from capsrepro.core import files, not_run, paths
from capsrepro.core.errors import Error
from capsrepro.core.params import Params, RunConfig, same_settings

FOLDER = Path("studies", "ablations")  # in the folder of a scale; holds the counts of each training, and table.csv
STEPS = 300_000  # of a training by the released code; shorter trainings scale a side's `decay_steps` down in proportion


@dataclasses.dataclass(frozen=True)
class Training:
    """A training for one side of one or several ablations, with the settings of each of its tests."""

    run: str
    changed: Mapping[str, Any]  # the settings that differ from the run's own; includes `every_shift`
    settings: RunConfig
    tests: Mapping[str, RunConfig]
    same_as: str = ""  # the run that it is, see `Side.run`

    @property
    def name(self) -> str:
        """`mnist-capsnet-r3-recon+loss_recipe=paper`; just the run's name if nothing is changed."""
        return "+".join([self.run, *(f"{key}={value}" for key, value in self.changed.items())])

    def path(self, folder: Path, seed: int) -> Path:
        """The file of its counts; `folder` is the folder of the scale."""
        return folder / FOLDER / f"{paths.stem(self.name, seed)}.json"

    def metrics(self, folder: Path, seed: int) -> Path:
        """The metrics of the run that it is; `folder` is the folder of the scale."""
        return folder / "metrics" / f"{paths.stem(self.same_as, seed)}.json"


class Count(NamedTuple):
    """The numbers of wrong and of all test images."""

    wrong: int
    examples: int

    @property
    def error_pct(self) -> float:
        """The error in percent."""
        return 100.0 * self.wrong / self.examples


@dataclasses.dataclass(frozen=True)
class Kept:
    """A finished training: its counts by test, and the full content of its file."""

    path: Path
    counts: Mapping[str, Count]
    content: Mapping[str, Any]


def possible(known: Params, scale: str) -> list[Ablation]:
    """The ablations that have two sides and a run with settings at this scale."""
    return [case for case in CASES if case.sides and case.run in known.scale_settings.get(scale, {})]


def chosen(known: Params, names: Sequence[str], absent: Collection[str]) -> list[Ablation]:
    """The ablations with these names; if no name is given, all whose data sets are not `absent`.

    Raises:
        Error: a name is unknown.
    """
    found = cases.chosen(names)
    return found if names else [case for case in found if known.runs[case.run].data not in absent]


def trainings(known: Params, scale: str, wanted: Iterable[Ablation]) -> list[Training]:
    """The trainings that the ablations need; sides with equal settings share one.

    Raises:
        Error: the scale is unknown, or has no settings for a run.
    """
    every: dict[str, Training] = {}
    names: dict[str, None] = {}
    wanted, able = list(wanted), possible(known, scale)
    for case in CASES:  # all of them, since a training makes the tests of every ablation that shares it
        for side in case.sides if case in wanted or case in able else ():
            training = training_of(known, scale, case.run, side)
            tests = every[training.name].tests if training.name in every else {}
            every[training.name] = dataclasses.replace(training, tests={**tests, **training.tests})
            if case in wanted:
                names[training.name] = None
    return [every[name] for name in names]


def training_of(known: Params, scale: str, run: str, side: Side) -> Training:
    """The training of one side, with its single test.

    Raises:
        Error: the scale is unknown, or has no settings for the run.
    """
    base = known.settings(run, scale)
    train = dict(side.train)
    if "decay_steps" in train:
        train["decay_steps"] = max(1, round(train["decay_steps"] * base.steps / STEPS))
    settings = _plain(dataclasses.replace(base, **train))
    before = dataclasses.asdict(_plain(base))
    changed = {name: value for name, value in dataclasses.asdict(settings).items() if value != before[name]}
    test = dataclasses.replace(base, **side.test)
    changed |= {"every_shift": True} if side.every_shift else {}
    return Training(run, changed, settings, {_test_name(test): test}, side.run)


def _plain(run: RunConfig) -> RunConfig:
    """Drops a recipe of loss or layers that equals the run's recipe, so that equal trainings have equal settings."""
    return dataclasses.replace(
        run,
        loss_recipe=None if run.loss_recipe == run.recipe else run.loss_recipe,
        layers_recipe=None if run.layers_recipe == run.recipe else run.layers_recipe,
    )


def _test_name(test: RunConfig) -> str:
    """The name of a test set, made of the settings that determine it."""
    names = ("shift", "base_shift", "test_pairs", "validate") if test.data == "multimnist" else ("validate",)
    return ", ".join([test.data, *(f"{name}={getattr(test, name)}" for name in names)])


def kept(training: Training, folder: Path, seed: int) -> Kept | None:
    """Reads the stored result of a training with one seed.

    If there is none, and the training is a run of params.yaml, that run's result is taken.

    Returns:
        None if there is none, or if its settings or tests are outdated, so that it has to be trained (again).

    Raises:
        Error: its file is damaged.
    """
    path = training.path(folder, seed)
    of_run = not path.is_file() and bool(training.same_as)
    if of_run:
        path = training.metrics(folder, seed)
    if not path.is_file():
        return None
    try:
        content = _as_training(training, path) if of_run else files.read_json(path)
        counts = {name: Count(int(test["wrong"]), int(test["examples"])) for name, test in content["tests"].items()}
        if not all(0 <= count.wrong <= count.examples > 0 for count in counts.values()):
            raise ValueError("impossible counts")
    except (Error, KeyError, TypeError, ValueError, AttributeError) as fault:
        raise Error(f"{path}: damaged ({fault!r}); delete it and it is trained again") from fault
    trained = content.get("settings")
    current = isinstance(trained, dict) and same_settings(trained, training.settings.as_json())
    return Kept(path, counts, content) if current and training.tests.keys() <= counts.keys() else None


def found(known: Params, folder: Path, scale: str) -> dict[str, dict[int, Kept]]:
    """Reads the stored results of all trainings that the ablations need, by name and seed, each file once.

    Args:
        known: the parameter file; results of trainings with other settings are left out.
        folder: the folder of the scale.
        scale: name of the scale.

    Raises:
        Error: a file is damaged.
    """
    names = sorted(path.name for path in (folder / FOLDER).glob("*.json"))
    return {
        training.name: _every_seed(training, folder, names)
        for training in trainings(known, scale, possible(known, scale))
    }


def _as_training(training: Training, metrics: Path) -> dict[str, Any]:
    """The result of a run in the form of a training's file."""
    content = files.read_json(metrics)
    if not_run.KEY in content:
        return {"tests": {}}
    (test,) = training.tests
    return files.read_json(metrics.parents[1] / "provenance" / metrics.name) | {
        "tests": {test: content},
        "weights_sha256": content["weights_sha256"],
    }


def _every_seed(training: Training, folder: Path, names: Iterable[str]) -> dict[int, Kept]:
    pattern = re.compile(re.escape(training.name) + r"-seed(\d+)\.json")
    seeds = {int(match[1]) for match in map(pattern.fullmatch, names) if match}
    if training.same_as:
        pattern = re.compile(re.escape(training.same_as) + r"-seed(\d+)\.json")
        known = (path.name for path in (folder / "metrics").glob("*.json"))
        seeds |= {int(match[1]) for match in map(pattern.fullmatch, known) if match}
    return {seed: one for seed in sorted(seeds) if (one := kept(training, folder, seed)) is not None}
