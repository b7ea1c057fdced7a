"""Checks against a CapsNet in plain NumPy, float64, in the released code's layout.

Images have their channels first, kernels are [h, w, in, out].
Shapes: B batch, C classes, D atoms of a digit capsule, H and W the grid, I primary capsules, P their types.
"""

import dataclasses
import itertools
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Batch
from capsrepro.data.multimnist import MultiMnist
from capsrepro.network import losses, models
from capsrepro.released import checkpoints
from capsrepro.training import feeding, loop
from tests.support.digits import Digits
from tests.support.gradients import with_gradients
from tests.support.runs import CAPSNET

Variables = dict[str, np.ndarray]

CLASSES, SIDE, IMAGES = 3, 20, 4  # of the small networks below: a grid of 12x12, then one of 2x2
SMALL = RunConfig(
    "mnist", "capsnet", routing=3, reconstruction=True, conv_channels=(3,), primary_types=2, dense_units=(5, 7)
)


def convolution(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """(B, in, H, W) to (B, out, H', W'), no padding."""
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("bcyxhw,hwco->boyx", windows, kernel)


def squash(s: np.ndarray) -> np.ndarray:
    """Equation 1."""
    length = np.linalg.norm(s, axis=-1, keepdims=True)
    return length**2 / (1 + length**2) * s / length


def digit_capsules(images: np.ndarray, weights: Variables, run: RunConfig) -> np.ndarray:
    """(B, depth, height, width) to (B, C, D): section 4 and Procedure 1, as the released code runs them."""
    types, leak = run.primary_types, int(run.leaky)
    features = convolution(images, weights["conv1/weights"], 1) + weights["conv1/biases"][:, None, None]
    grid = convolution(np.maximum(features, 0), weights["conv_capsule1/weights"], 2)  # (B, P*8, H, W)
    grid = grid.reshape(len(images), types, 8, *grid.shape[2:]) / (types + leak) + weights["conv_capsule1/biases"]
    below = squash(np.moveaxis(grid, 2, -1)).reshape(len(images), -1, 8)  # (B, I, 8): type, then row, then column
    bias = weights["capsule2/biases"]
    votes = np.einsum("bia,iaz->biz", below, weights["capsule2/weights"]).reshape(*below.shape[:2], *bias.shape)
    logits = np.zeros(votes.shape[:3])  # (B, I, C)
    for _ in range(run.routing or 1):
        couplings = np.exp(logits) / (np.exp(logits).sum(axis=2, keepdims=True) + leak)
        capsules = squash(np.einsum("bic,bicd->bcd", couplings, votes) + bias)
        logits = logits + np.einsum("bicd,bcd->bic", votes, capsules)
    return capsules


def reconstruction(images: np.ndarray, mask: np.ndarray, weights: Variables, run: RunConfig) -> list[np.ndarray]:
    """The layers of the decoder for one digit, from the masked capsules (B, C*D) to the pixels (B, depth*H*W)."""
    layers = [(mask[:, :, None] * digit_capsules(images, weights, run)).reshape(len(images), -1)]
    for number in (1, 2, 3):
        s = layers[-1] @ weights[f"recons/recons_{number}/weights"] + weights[f"recons/recons_{number}/biases"]
        layers.append(np.maximum(s, 0) if number < 3 else 1 / (1 + np.exp(-s)))
    return layers


def reconstruction_loss(images: np.ndarray, drawn: np.ndarray) -> float:
    """0.0005 times the summed squared error, the mean over the batch."""
    return float(0.0005 * np.square(drawn - images.reshape(len(images), -1)).sum(axis=1).mean())


def decoder_gradients(images: np.ndarray, layers: list[np.ndarray], weights: Variables) -> Variables:
    """The gradients of the reconstruction loss by the decoder's variables."""
    drawn, gradients = layers[3], {}
    back = 0.0005 * 2 * (drawn - images.reshape(len(images), -1)) / len(images) * drawn * (1 - drawn)
    for number in (3, 2, 1):
        scope = f"recons/recons_{number}"
        gradients |= {f"{scope}/weights": layers[number - 1].T @ back, f"{scope}/biases": back.sum(axis=0)}
        back = (back @ weights[f"{scope}/weights"].T) * (layers[number - 1] > 0)
    return gradients


def drawn_weights(run: RunConfig, depth: int) -> Variables:
    """Variables of a small network, numbers of float32 held in float64; scales that saturate nothing."""
    kernels = [run.conv_channels[0], run.primary_types * 8, CLASSES * run.digit_atoms]
    shapes: dict[str, tuple[int, ...]] = {
        "conv1/weights": (9, 9, depth, kernels[0]),
        "conv1/biases": (kernels[0],),
        "conv_capsule1/weights": (9, 9, kernels[0], kernels[1]),
        "conv_capsule1/biases": (run.primary_types, 8, 1, 1),
        "capsule2/weights": (run.primary_types * 4, 8, kernels[2]),
        "capsule2/biases": (CLASSES, run.digit_atoms),
    }
    sizes = [kernels[2], *run.dense_units, depth * SIDE * SIDE] if run.reconstruction else []
    for number, (wide, high) in enumerate(itertools.pairwise(sizes), 1):
        shapes |= {f"recons/recons_{number}/weights": (wide, high), f"recons/recons_{number}/biases": (high,)}
    generator = np.random.Generator(np.random.Philox(5))
    scale = {"conv1": 0.1, "conv_capsule1": 0.2, "capsule2": 0.5, "recons": 0.5}
    return {
        name: (scale[name.partition("/")[0]] * generator.standard_normal(shape)).astype(np.float32).astype(np.float64)
        for name, shape in shapes.items()
    }


def drawn_images(depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (B, depth, height, width) in [0, 1], numbers of float32 held in float64, and their labels."""
    generator = np.random.Generator(np.random.Philox(6))
    images = generator.random((IMAGES, depth, SIDE, SIDE), np.float32).astype(np.float64)
    return images, np.arange(IMAGES) % CLASSES


def near(ours: Any, expected: np.ndarray, bound: float, name: str) -> None:
    """Norm of the difference over the norm of what is expected."""
    assert np.shape(ours) == expected.shape, name
    difference = np.linalg.norm(np.asarray(ours, np.float64) - expected) / np.linalg.norm(expected)
    assert difference <= bound, f"{name}: {difference:.1e}"


def check_scores(leaky: bool) -> None:
    """The scores of a network without decoder; leaky: its primary capsules are divided by P + 1."""
    run = dataclasses.replace(SMALL, reconstruction=False, leaky=leaky)
    weights, (images, _) = drawn_weights(run, 1), drawn_images(1)
    model = models.build(run, (SIDE, SIDE, 1), classes=CLASSES)
    for name, variable in checkpoints._released_variables(model).items():
        variable.assign(checkpoints._from_released(name, weights[name], variable))
    expected = np.linalg.norm(digit_capsules(images, weights, run), axis=-1)
    near(model({"image": _seen(images)})["scores"], expected, 1e-5, "scores")


def check_two_channels() -> None:
    """Two channels: what a restored checkpoint draws, channel by channel, the loss of it, and every gradient."""
    images, labels = drawn_images(2)
    weights, mask = drawn_weights(SMALL, 2), np.eye(CLASSES)[labels]
    described: Any = SimpleNamespace(image_shape=(SIDE, SIDE, 2), classes=CLASSES, digits=1)
    model = loop.compiled(SMALL, described, 0)
    _restore(model, weights)
    seen = _seen(images)
    inputs, truths = feeding.tensors(Batch(seen, labels[:, None], seen[:, None]), CLASSES, decoder=True)

    layers = reconstruction(images, mask, weights, SMALL)
    drawn = keras.ops.convert_to_numpy(model(inputs)["reconstruction"])
    near(drawn[:, 0], layers[3], 1e-5, "reconstruction")
    pictures = np.moveaxis(layers[3].reshape(images.shape), 1, -1)
    near(models.unflattened(drawn[:, 0], (SIDE, SIDE, 2)), pictures, 1e-5, "pictures")

    def loss_of() -> Any:
        return keras.ops.mean(losses.reconstruction_loss(truths["reconstruction"], model(inputs)["reconstruction"]))

    variables = checkpoints._released_variables(model)
    loss, ours = with_gradients(loss_of, variables=[*variables.values()])
    assert float(loss) == pytest.approx(reconstruction_loss(images, layers[3]), rel=1e-5)
    gradients = {name: checkpoints._to_released(name, gradient) for name, gradient in zip(variables, ours, strict=True)}
    for name, expected in decoder_gradients(images, layers, weights).items():
        near(gradients[name], expected, 1e-4, name)
    generator = np.random.Generator(np.random.Philox(7))
    for name in [name for name in weights if not name.startswith("recons")]:
        direction = generator.standard_normal(weights[name].shape)
        ahead, behind = (
            reconstruction_loss(images, reconstruction(images, mask, moved, SMALL)[3])
            for moved in (weights | {name: weights[name] + step * direction} for step in (1e-5, -1e-5))
        )
        along = float((gradients[name] * direction).sum())
        bound = 1e-4 * float(np.linalg.norm(gradients[name]))
        assert along == pytest.approx((ahead - behind) / 2e-5, abs=bound), name


def _seen(images: np.ndarray) -> np.ndarray:
    """As our networks take them: channels last, float32."""
    return np.moveaxis(images, 1, -1).astype(np.float32)


def _restore(model: keras.Model, weights: Variables) -> None:
    """Fills a model from a checkpoint that TensorFlow writes of the arrays as they are."""
    tf = pytest.importorskip("tensorflow", reason="TensorFlow writes this checkpoint and is not installed")
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder, "model.ckpt-1"))
        slices, arrays = [""] * len(weights), [value.astype(np.float32) for value in weights.values()]
        tf.raw_ops.SaveV2(prefix=prefix, tensor_names=[*weights], shape_and_slices=slices, tensors=arrays)
        checkpoints.restore_released(model, prefix)


def check_targets(digits: Digits) -> None:
    """MultiMNIST: label t is the class of target t, and the first is the base digit."""
    data = MultiMnist(digits[0][:200], digits[1][:200], name="multimnist-few", sha256="x", pairs=3)
    numbers = np.arange(0, 600, 7)
    pairs, batch = data.pairs(numbers), data.batch(numbers)
    assert (pairs.base != pairs.top).all()
    for target, (digit, shift) in enumerate(((pairs.base, pairs.base_shift), (pairs.top, pairs.top_shift))):
        assert batch.labels[:, target].tolist() == digits[1][digit].tolist()
        for place, (down, right) in enumerate(shift):
            seen = batch.targets[place, target, 4 + down : 32 + down, 4 + right : 32 + right]
            assert np.allclose(seen, digits[0][digit[place]] / 255.0, atol=1e-6)


def check_adam(average: float | None) -> None:
    """Adam in the form of TensorFlow 1 with an epsilon of 1e-8, on gradients as small as that; then the average."""
    run = dataclasses.replace(CAPSNET, average=average)
    optimizer, weight = loop._adam(run), keras.Variable(np.zeros(3, np.float32), name="weight")
    optimizer.build([weight])
    m = v = w = mean = np.zeros(3)
    for t in range(1, 6):
        gradient = np.array([1e-8, -3e-8, 1e-3]) * t
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype(np.float32))], [weight])
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        rate = run.learning_rate * run.decay_rate ** ((t - 1) / run.decay_steps)
        w = w - rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)
        mean = w if t == 1 or average is None else average * mean + (1 - average) * w
    near(weight, w, 1e-4, "weights")
    if average is not None:
        optimizer.finish([weight])
        near(weight, mean, 1e-4, "average")
