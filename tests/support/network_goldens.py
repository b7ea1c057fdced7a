"""Whole networks of the released code: a case's weights in our network, its batch, and our numbers on it.

A case is a folder with case.json, golden.npz and, where the weights do not come from a recipe in case.json, a TF1
checkpoint. With CAPSREPRO_CHECKPOINTS=folder, cases and published checkpoints below that folder are tested too.

Recipe: z ~ RandomState(seed).standard_normal(shape), times `scale` and, along the last axis, `column_scale`. Goldens of
big tensors hold sampled entries: `*_idx` (flat, in the released layout) and `*_val`.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Batch, unit
from capsrepro.data.mnist import Mnist
from capsrepro.network import losses
from capsrepro.released import checkpoints
from capsrepro.training import feeding, loop
from tests.support import ROOT

OWN = os.environ.get("CAPSREPRO_CHECKPOINTS")
FOLDERS = sorted(
    path.parent
    for root in (ROOT / "tests" / "golden" / "data" / "cases", *([Path(OWN)] if OWN else []))
    for path in root.rglob("case.json")
)


def drawn(entry: dict[str, Any]) -> np.ndarray:
    """A variable by its recipe, in the released layout."""
    z = np.random.RandomState(entry["seed"]).standard_normal(entry["shape"])
    columns = np.repeat(entry.get("column_scale", [1.0]), entry.get("column_repeat", 1))
    value = (entry["mean"] + entry["scale"] * columns * z).astype(np.float32)
    assert np.allclose(value.ravel()[:5], entry["first5"], rtol=1e-6)
    return value


def settings(about: dict[str, Any]) -> RunConfig:
    """The run of a case's hyperparameters."""
    hparams = about["hparams"]
    shared = {"padding": hparams["padding"].lower(), "loss": hparams["loss_type"]}
    shared |= {name: hparams[name] for name in ("learning_rate", "decay_rate", "decay_steps")}
    if about["model"] == "baseline":
        channels = about.get("channels_override") or [512, 256]
        return RunConfig(
            "mnist", "multimnist_baseline", conv_channels=tuple(channels[-2:]), dense_units=(1024,), **shared
        )
    shared |= {name: hparams[name] for name in ("routing", "leaky")}
    shared |= {"primary_types": hparams["num_prime_capsules"], "reconstruction": hparams["remake"]}
    return RunConfig("mnist", "capsnet", **shared)


class Case:
    """One case, its weights in our network, its batch, and our numbers on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = json.loads((folder / "case.json").read_text())
        self.golden = np.load(folder / "golden.npz")
        self.run = settings(self.about)
        if "in/images_u8" in self.golden:
            images, labels = unit(self.golden["in/images_u8"])[..., None], self.golden["in/label"]
        else:
            images, labels = self.golden["in/images"], self.golden["in/labels"].argmax(axis=1)
        self.model = loop.compiled(self.run, Mnist(images, labels, name=folder.name, sha256=""), 0)
        self.variables = checkpoints._released_variables(self.model)
        self.restore()
        self.inputs, self.truths = feeding.tensors(
            Batch(images, labels[:, None], images[:, None]), 10, decoder=self.run.reconstruction
        )

    def restore(self) -> None:
        if recipe := self.about.get("weight_recipe"):
            for entry in recipe:
                variable = self.variables[entry["name"]]
                variable.assign(checkpoints._from_released(entry["name"], drawn(entry), variable))
        else:
            pytest.importorskip("tensorflow", reason="TensorFlow reads this case's checkpoint and is not installed")
            checkpoints.restore_released(self.model, self.folder / self.about["checkpoint"])

    def released(self, name: str, value: Any) -> np.ndarray:
        """A variable's value or gradient, flat, in the released layout."""
        return checkpoints._to_released(name, value).reshape(-1)

    def close(self, ours: Any, golden: str, bound: float) -> None:
        expected = self.golden[golden].astype(np.float64)
        difference = np.linalg.norm(np.asarray(ours, np.float64).reshape(expected.shape) - expected)
        assert difference <= bound * np.linalg.norm(expected), f"{golden}: {difference / np.linalg.norm(expected):.1e}"

    def close_where_kept(self, ours: np.ndarray, name: str, bound: float) -> None:
        """Against the whole golden or its sampled entries."""
        if name in self.golden:
            self.close(ours, name, bound)
        else:
            kind, _, rest = name.partition("/")
            self.close(ours.reshape(-1)[self.golden[f"{kind}_idx/{rest}"]], f"{kind}_val/{rest}", bound)


def check_losses_and_counts(case: Case) -> None:
    """Every loss of the batch, and how many of it are right."""
    outputs = case.model(case.inputs)
    truth = case.truths["scores"]
    loss = losses.classification(case.run.loss, "released")(truth, outputs["scores"])
    case.close(np.mean(loss), "out/classification_loss", 1e-5)
    if case.run.reconstruction:
        drawn_loss = losses.reconstruction_loss(case.truths["reconstruction"], outputs["reconstruction"])
        case.close(np.mean(drawn_loss), "out/recons_loss_0", 1e-5)
    case.close(case.model.compute_loss(x=case.inputs, y=case.truths, y_pred=outputs), "out/total_loss", 1e-5)
    assert float(np.sum(losses.both_right(truth, outputs["scores"]))) == float(case.golden["out/correct"])
    assert float(np.sum(losses.any_right(truth, outputs["scores"]))) == float(case.golden["out/almost"])
