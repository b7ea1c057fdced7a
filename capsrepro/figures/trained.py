"""Loads what the figures are drawn of: a trained network with its predictions, and the history of its training."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import keras
import pandas

from capsrepro.core.errors import Error
from capsrepro.core.origin import origin_of, provenance_settings
from capsrepro.core.params import TITLES, RunConfig
from capsrepro.core.paths import RunPaths
from capsrepro.data import loading
from capsrepro.data.batches import Dataset
from capsrepro.figures import charts, routing_changes
from capsrepro.figures.data import CIFAR10
from capsrepro.network import devices, evaluation, ties


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network and its test split."""

    model: keras.Model
    dataset: Dataset  # MultiMNIST: one pair per digit
    settings: RunConfig  # those that are stored with the weights, in float32

    @functools.cached_property
    def given(self) -> evaluation.Answers:
        """Its predictions on the test split."""
        return evaluation.answers(self.model, self.dataset)

    @property
    def title(self) -> str:
        """Data set and routing, see `charts.described`."""
        members = f"{self.settings.members} networks on " if self.settings.members > 1 else ""
        return charts.described(f"{members}{TITLES[self.settings.data]}", self.settings)

    @property
    def names(self) -> Sequence[str]:
        """The names of the classes; empty where they are digits."""
        return CIFAR10 if self.settings.data == "cifar10" else ()


def restored(where: RunPaths, data: Path) -> Trained:
    """Loads a run's network with the settings that are stored with its weights.

    Args:
        where: of the run.
        data: the folder of the data sets.

    Raises:
        Error: weights or data are missing or damaged, nothing says what the weights were trained with, or they are of
            another training than the run's provenance.
    """
    _check(where, where.weights)
    origin = origin_of(where)
    settings = origin.for_evaluation
    devices.share_gpus()
    dataset = loading.load(dataclasses.replace(settings, test_pairs=1), "test", data, where.scale)
    model, _, _ = ties.restored(where, origin, dataset)
    return Trained(model, dataset, settings)


def check(where: RunPaths, figures: Sequence[str]) -> None:
    """Refuses figures of a run that its network cannot have, before any is drawn.

    Raises:
        Error: the message names these figures, and what each needs; or the run has no provenance.
    """
    if not figures:
        return
    _check(where, where.origin)
    settings = provenance_settings(where)
    capsules = settings.routing is not None and settings.members == 1
    decoder = capsules and settings.reconstruction
    lacking = {} if capsules else {"a1": "a single CapsNet"}
    lacking |= {} if decoder else dict.fromkeys(("3", "4"), "a single CapsNet with a decoder")
    lacking |= {} if decoder and settings.data == "mnist" else {"a2": "a CapsNet of MNIST with a decoder"}
    if faults := [f"{figure} needs {lacking[figure]}" for figure in figures if figure in lacking]:
        raise Error(f"{where.origin}: not of a run for these figures: {', '.join(faults)}; name others with --only")


def measured(network: Trained, where: RunPaths, data: Path) -> pandas.DataFrame:
    """Measures what the passes of routing change on the run's training split, see `routing_changes.measure`."""
    return routing_changes.measure(network.model, loading.load(network.settings, "train", data, where.scale))


def history(where: RunPaths, *columns: str) -> tuple[int | None, pandas.DataFrame]:
    """Reads a run's routing iterations from its provenance, and its history, see `charts.history`.

    Raises:
        Error: either file is missing or malformed.
    """
    _check(where, where.history)
    return provenance_settings(where).routing, charts.history(where.history, *columns)


def histories(folder: Path, runs: Sequence[str], *columns: str) -> list[tuple[int | None, pandas.DataFrame]]:
    """The histories of runs at one scale, see `history`, with every seed that all of the runs have.

    Args:
        folder: of the scale, such as `results/quick`.
        runs: their names.
        columns: see `history`.

    Raises:
        Error: no seed was trained of all of them, or a file is malformed.
    """
    found = [
        {int(path.stem.rpartition("-seed")[2]) for path in folder.glob(f"history/{run}-seed*.csv")} for run in runs
    ]
    if not (seeds := sorted(set.intersection(*found))):
        command = f"python -m experiments.train RUN --scale {folder.name} --seed 0"
        raise Error(f"{folder}/history: no seed of both {' and '.join(runs)}; run `{command}` for each")
    return [history(RunPaths(folder.name, run, seed), *columns) for run in runs for seed in seeds]


def _check(where: RunPaths, path: Path) -> None:
    if not path.is_file():
        command = f"python -m experiments.train {where.run} --scale {where.scale} --seed {where.seed}"
        raise Error(f"{path}: not there; run `{command}` or add {where.run} to `rows` and run `dvc repro`")
