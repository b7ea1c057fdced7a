"""The paper's CapsNet at full width against the released code: forward, losses, every gradient, one Adam step.

Weights come from the recipe of case.json: z ~ RandomState(seed).standard_normal(shape), times `scale` and, along the
last axis, `column_scale`. The goldens hold sampled entries of big tensors: `*_idx` (flat, in the released layout) and
`*_val`.
"""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from capsrepro import losses, training
from capsrepro.data.batches import Batch, unit
from capsrepro.data.mnist import Mnist
from capsrepro.params import Run

DATA = Path(__file__).parent / "data"
LAYERS = {
    "conv1": "conv1",
    "conv_capsule1": "primary_capsules",
    "capsule2": "digit_capsules",
    "recons/recons_1": "decoder1",
    "recons/recons_2": "decoder2",
    "recons/recons_3": "decoder3",
}


def drawn(entry: dict[str, Any]) -> np.ndarray:
    """A variable by its recipe, in the released layout."""
    z = np.random.RandomState(entry["seed"]).standard_normal(entry["shape"])
    columns = np.repeat(entry.get("column_scale", [1.0]), entry.get("column_repeat", 1))
    value = (entry["mean"] + entry["scale"] * columns * z).astype(np.float32)
    assert np.allclose(value.ravel()[:5], entry["first5"], rtol=1e-6)
    return value


def to_ours(name: str, value: np.ndarray) -> np.ndarray:
    if name == "capsule2/weights":  # [I, 8, C*16] to (C, I, 8, 16)
        return value.reshape(*value.shape[:2], 10, 16).transpose(2, 0, 1, 3)
    return value.reshape(-1) if name == "conv_capsule1/biases" else value


def to_released(name: str, value: Any) -> np.ndarray:
    value = np.asarray(value)
    if name == "capsule2/weights":
        value = value.transpose(1, 2, 0, 3)
    return value.reshape(-1)


class Case:
    """One case, its weights in our network, its batch, and our numbers on it."""

    def __init__(self, name: str) -> None:
        self.about = json.loads((DATA / name / "case.json").read_text())
        self.golden = np.load(DATA / name / "golden.npz")
        hparams = self.about["hparams"]
        self.run = Run("mnist", "capsnet", routing=hparams["routing"], reconstruction=hparams["remake"])
        labels = self.golden["in/label"]
        images = self.golden["in/images_u8"][..., None]
        pixels = unit(images)
        self.model = training.compiled(self.run, Mnist(images, labels, name=name, sha256=""), 0)
        layers = {layer.name: layer for layer in self.model._flatten_layers()}
        self.variables = {}
        for entry in self.about["weight_recipe"]:
            layer, _, kind = entry["name"].rpartition("/")
            variable = getattr(layers[LAYERS[layer]], {"weights": "kernel", "biases": "bias"}[kind])
            variable.assign(to_ours(entry["name"], drawn(entry)))
            self.variables[entry["name"]] = variable
        batch = Batch(pixels, labels[:, None], pixels[:, None])
        self.inputs, self.truths = training.tensors(batch, 10, decoder=self.run.reconstruction)

    def close(self, ours: Any, golden: str, bound: float) -> None:
        expected = self.golden[golden].astype(np.float64)
        difference = np.linalg.norm(np.asarray(ours, np.float64).reshape(expected.shape) - expected)
        assert difference <= bound * np.linalg.norm(expected), f"{golden}: {difference / np.linalg.norm(expected):.1e}"


@pytest.fixture(scope="module", params=["capsnet_mnist", "capsnet_mnist_r1_norecon"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_the_parameters_are_the_papers(case: Case) -> None:
    assert (
        case.model.count_params()
        == case.about["num_trainable"]
        == sum(v.value.shape.num_elements() for v in case.variables.values())
    )


def test_scores_capsules_and_reconstruction(case: Case) -> None:
    names = ("primary_capsules", "digit_capsules")
    inner = keras.Model(case.model.input, [case.model.get_layer(name).output for name in names])
    primary, digit = (np.asarray(value) for value in inner(case.inputs))
    outputs = case.model(case.inputs)
    case.close(outputs["scores"], "out/logits", 1e-5)
    case.close(digit, "out/capsules", 1e-5)
    case.close(primary.ravel()[case.golden["out_idx/prime_capsules"]], "out_val/prime_capsules", 1e-5)
    if case.run.reconstruction:
        pixels = np.asarray(outputs["reconstruction"]).ravel()
        case.close(pixels[case.golden["out_idx/remake_0"]], "out_val/remake_0", 1e-5)


def test_every_loss_and_the_count(case: Case) -> None:
    outputs = case.model(case.inputs)
    loss = losses.classification("margin", "released")(case.truths["scores"], outputs["scores"])
    case.close(np.mean(loss), "out/classification_loss", 1e-5)
    if case.run.reconstruction:
        drawn_loss = losses.reconstruction_loss(case.truths["reconstruction"], outputs["reconstruction"])
        case.close(np.mean(drawn_loss), "out/recons_loss_0", 1e-5)
    right = losses.both_right(case.truths["scores"], outputs["scores"])
    assert float(np.sum(right)) == float(case.golden["out/correct"])


def test_every_gradient_and_then_one_adam_step(case: Case) -> None:
    with tf.GradientTape() as tape:
        outputs = case.model(case.inputs, training=True)
        total = case.model.compute_loss(x=case.inputs, y=case.truths, y_pred=outputs)
    case.close(total, "out/total_loss", 1e-5)
    gradients = tape.gradient(total, [variable.value for variable in case.variables.values()])
    for name, gradient in zip(case.variables, gradients, strict=True):
        flat = to_released(name, gradient)
        case.close(flat[case.golden[f"grad_idx/{name}"]], f"grad_val/{name}", 1e-4)
        assert np.linalg.norm(flat.astype(np.float64)) == pytest.approx(case.golden[f"grad_stats/{name}"][2], rel=1e-4)
    case.model.train_on_batch(case.inputs, case.truths)
    for name, variable in case.variables.items():
        stepped = to_released(name, variable.value)[case.golden[f"grad_idx/{name}"]]
        assert np.abs(stepped - case.golden[f"step_val/{name}"]).max() <= 2e-6  # the bound stored with the goldens
    case.close(case.model(case.inputs)["scores"], "post/logits", 1e-4)
    case.close(case.model.optimizer.learning_rate, "post/learning_rate", 1e-6)
