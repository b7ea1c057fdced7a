"""Settings travel with weights: whatever loads weights uses the settings that they were trained with, in float32."""

import argparse
import dataclasses
import hashlib
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from capsrepro.core import files, params
from capsrepro.core.errors import Error
from capsrepro.core.origin import Origin, evaluation_settings, origin_of, read_origin
from capsrepro.core.params import RunConfig
from capsrepro.core.paths import RunPaths
from capsrepro.data import loading
from capsrepro.data.affnist import AffNist
from capsrepro.data.batches import Dataset
from capsrepro.data.mnist import Mnist
from capsrepro.data.multimnist import MultiMnist
from capsrepro.evidence import predictions
from capsrepro.network import models
from capsrepro.network.weights import save_weights
from experiments import evaluate
from tests.support.digits import Digits, few_of, idx
from tests.support.runs import CAPSNET

TRAINED = dataclasses.replace(CAPSNET, precision="mixed_bfloat16", conv_channels=(3,))
COUNT = 40  # digits


def where(run: str = "mnist-capsnet-r3-recon") -> RunPaths:
    return RunPaths("quick", run, 0)


def trained(path: RunPaths, settings: RunConfig, dataset: Dataset) -> None:
    """Writes untrained weights with the settings as if those had been their training's."""
    model = models.build(settings, dataset.image_shape, digits=dataset.digits)
    save_weights(model, path.weights, origin=Origin(path.run, path.scale, path.seed, 6, settings))
    files.write_json(path.training, {"settings": settings.as_json(), "steps_done": 6})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose params.yaml says something else of each run than its weights do."""
    entry = {"model": "capsnet", "routing": 1, "reconstruction": True, "shift": 4}
    runs = {
        where(f"{data}-capsnet-r3-recon").run: entry | {"data": data} for data in ("mnist", "multimnist", "affnist")
    }
    small = {"conv_channels": [5], "primary_types": 1, "dense_units": [8, 8]}
    content = {"trainings": {}, "runs": runs}
    content["scale_settings"] = {"quick": dict.fromkeys(runs, small)}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAPSREPRO_REVISION", "0123abc")
    return tmp_path


def evaluated(path: RunPaths, splits: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """Runs `experiments.evaluate` on data sets by split; gives the settings that these were loaded with."""
    asked = []

    def load(settings: RunConfig, split: str, *_: object) -> Dataset:
        asked.append(settings)
        return splits[split]

    monkeypatch.setattr(loading, "load", load)
    words: dict[str, Any] = {"run": path.run, "scale": path.scale, "seed": path.seed, "unless_noted": False}
    evaluate.main(argparse.Namespace(**words, params=Path("params.yaml"), data=Path("data")))
    return asked


def given(dataset: Dataset) -> str:
    """SHA-256 of what a network is given of a split."""
    batch = dataset.batch(np.arange(len(dataset)))
    return hashlib.sha256(np.ascontiguousarray(batch.images).tobytes() + batch.labels.tobytes()).hexdigest()


def test_evaluation_takes_the_stored_settings_and_counts_in_float32(
    project: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = few_of(digits, COUNT)
    trained(where(), TRAINED, few)
    assert set(evaluated(where(), {"test": few}, monkeypatch)) == {dataclasses.replace(TRAINED, precision="float32")}
    metrics, environment = json.loads(where().metrics.read_text()), json.loads(where().evaluation.read_text())
    assert (metrics["routing"], metrics["steps"], metrics["counted_in"]) == (3, 6, "float32")
    assert metrics["test_sha256"] == given(few)
    assert environment["precision"] == "float32"
    assert (environment["git_revision"], environment["revision_source"]) == ("0123abc", "env")
    assert {"device", "instructions", "backend", "versions", "arithmetic"} <= environment.keys()
    assert predictions.wrong(predictions.read(where().predictions)) == metrics["wrong"]


def test_metrics_of_pairs_name_the_seed_of_the_pairs(
    project: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = where("multimnist-capsnet-r3-recon")
    pairs = MultiMnist(digits[0][:COUNT], digits[1][:COUNT], name="pairs", sha256="x", pairs=1, seed=7)
    trained(path, dataclasses.replace(TRAINED, data="multimnist"), pairs)
    evaluated(path, {"test": pairs}, monkeypatch)
    metrics = json.loads(path.metrics.read_text())
    assert metrics["pair_seed"] == 7
    assert metrics["test_sha256"] == given(pairs)
    assert predictions.read(path.predictions).predicted.shape == (COUNT, 2)


def test_metrics_of_affnist_have_the_hashes_of_both_test_sets(
    project: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = where("affnist-capsnet-r3-recon")
    padded = np.pad(digits[0][:COUNT], ((0, 0), (6, 6), (6, 6), (0, 0)))
    affnist = AffNist(padded, digits[1][:COUNT], sha256="x", parameters=np.zeros((COUNT, 6), np.float32))
    expanded = Mnist(padded[::-1], digits[1][:COUNT][::-1], name="expanded", sha256="y", shift=0)
    trained(path, dataclasses.replace(TRAINED, data="affnist"), affnist)
    evaluated(path, {"test": affnist, "stop": expanded}, monkeypatch)
    metrics = json.loads(path.metrics.read_text())
    assert (metrics["test_sha256"], metrics["stop_sha256"]) == (given(affnist), given(expanded))
    assert metrics["stop_accuracy_pct"] == pytest.approx(100 - metrics["test_error_pct"])  # the same digits


def test_predictions_of_pictures_route_as_the_weights_were_trained(
    project: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(where(), TRAINED, few_of(digits, COUNT))
    build, built = models.build, []
    monkeypatch.setattr(models, "build", lambda run, *rest: built.append(run) or build(run, *rest))
    Path("digits-idx3-ubyte").write_bytes(idx(digits[0][:2, :, :, 0]))
    monkeypatch.setattr(sys, "argv", ["predict", "digits-idx3-ubyte"])
    runpy.run_module("experiments.predict", run_name="__main__")
    assert built == [dataclasses.replace(TRAINED, precision="float32")]
    assert params.read().settings(where().run, "quick").routing == 1


def test_weights_that_store_nothing_take_the_settings_given(tmp_path: Path, digits: Digits) -> None:
    path = tmp_path / "some.weights.h5"
    save_weights(models.build(CAPSNET, (28, 28, 1)), path)
    assert read_origin(path) is None
    assert evaluation_settings(path, TRAINED) == dataclasses.replace(TRAINED, precision="float32")


def test_weights_of_another_run_are_refused(project: Path, digits: Digits) -> None:
    trained(where(), TRAINED, few_of(digits, COUNT))
    other = where("affnist-capsnet-r3-recon")
    other.weights.write_bytes(where().weights.read_bytes())
    with pytest.raises(Error, match="expected the weights of quick/affnist-capsnet-r3-recon-seed0, received those of"):
        origin_of(other)
