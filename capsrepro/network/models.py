"""Builds the paper's networks: CapsNet with or without decoder, and the two baselines."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from capsrepro.core.params import RunConfig
from capsrepro.network import devices, sizes
from capsrepro.network.layers import DigitCapsules, PrimaryCapsules
from capsrepro.network.routing import lengths

# A layer's number, of which its seed is made. No two layers of a network share one; 1 and 2 are also those of the
# capsules, since a CapsNet has a single convolution. Committed weights began with numbers below 10, so these stay.
_CONVOLUTIONS = (0, 1, 2, *range(10, 15))
_HIDDEN = (*range(3, 8), *range(15, 18))
_OUTPUT, _DROPOUT = 8, 9


def build(
    run: RunConfig, image_shape: tuple[int, int, int], *, classes: int = 10, digits: int = 1, seed: int = 0
) -> keras.Model:
    """Builds the network of a run with initial weights that depend on the seed only.

    Args:
        run: settings of the run; `model` selects the builder.
        image_shape: height, width, depth.
        classes: C.
        digits: T, the number of digits in an image; the decoder reconstructs each of them.
        seed: seed of the initial weights and of dropout.

    Raises:
        Error: padding leaves no pixel, or the network does not fit into memory.
    """
    builders = {"capsnet": capsnet, "mnist_baseline": mnist_baseline, "multimnist_baseline": multimnist_baseline}
    sizes.check(run, image_shape, classes)
    return builders[run.model](devices.resolved(run), image_shape, classes=classes, digits=digits, seed=seed)


def ensemble(members: Sequence[keras.Model]) -> keras.Model:
    """Combines networks by adding their scores, as the released code does; a single network is returned as it is."""
    if len(members) == 1:
        return members[0]
    image = keras.Input(members[0].input["image"].shape[1:], name="image")
    parts = [classifier(member) for member in members]
    for number, part in enumerate(parts):
        part.name = f"member{number}"
    scores = layers.Add(name="scores")([part(image) for part in parts])
    return keras.Model({"image": image}, {"scores": scores}, name="ensemble")


def capsnet(
    run: RunConfig, image_shape: tuple[int, int, int], *, classes: int = 10, digits: int = 1, seed: int = 0
) -> keras.Model:
    """CapsNet (section 4, Figures 1 and 2).

    Inputs: `image` `(B, H, W, D)` in [0, 1]; with a decoder also `mask` `(B, T, C)`, one-hot, the capsules to
    reconstruct from. These are the true labels, in evaluation too. Outputs: `scores` `(B, C)`, the lengths; with a
    decoder also `reconstruction` `(B, T, D*H*W)` in [0, 1].

    Sizes at full width on 28x28: 20x20x256 features, 6x6x32 capsules of 8 atoms, 10 capsules of 16 atoms; 8,215,728
    parameters with a decoder, 6,804,384 without.

    The recipe `released` multiplies the primary convolution by 1/P, see `PrimaryCapsules`. At full width, with these
    initial weights, the paper's undivided capsules start saturated. Over 32 images the mean length of a class is 0.82
    on 28x28, 0.97 on 36x36 and 0.98 on 40x40, while the released ones start at 0.15 to 0.19. On MultiMNIST they stayed
    saturated: nothing was learnt in 4,500 steps at full width, because the gradient of the squash vanishes.
    """
    scale = 1.0 if run.recipe_of_layers == "paper" else 1.0 / (run.primary_types + int(run.leaky))
    primary = PrimaryCapsules(
        run.primary_types,
        run.primary_atoms,
        padding=run.padding,
        kernel_scale=scale,
        kernel_initializer=_normal(0.1, seed, 1),
        dtype=run.precision,
        name="primary_capsules",
    )
    digit = DigitCapsules(
        classes,
        run.digit_atoms,
        run.routing or 1,
        run.leaky,
        update=run.routing_update,
        kernel_initializer=_normal(0.1, seed, 2),
        dtype=run.precision,
        name="digit_capsules",
    )
    image = keras.Input(image_shape, name="image")
    features = _convolution(run.conv_channels[0], 9, run, 0.05, seed, 0, "conv1")(image)  # (B, 20, 20, 256)
    capsules = digit(primary(features))  # (B, C, 16)
    outputs = {"scores": Lengths(name="scores")(capsules)}
    inputs = {"image": image}
    if run.reconstruction:
        inputs["mask"] = keras.Input((digits, classes), name="mask")
        outputs["reconstruction"] = decoder(run, image_shape, seed)(Mask(name="masked")([capsules, inputs["mask"]]))
    return keras.Model(inputs, outputs, name="capsnet")


def mnist_baseline(
    run: RunConfig, image_shape: tuple[int, int, int], *, classes: int = 10, digits: int = 1, seed: int = 0
) -> keras.Model:
    """The baseline of Table 1 on MNIST: three 5x5 convolutions, two dense layers, dropout, C logits.

    SAME padding and no pooling give the paper's 35.4M parameters, 35,445,522.
    """
    image = keras.Input(image_shape, name="image")
    x = image
    for number, channels in enumerate(run.conv_channels):
        x = _convolution(channels, 5, run, 0.05, seed, _CONVOLUTIONS[number], f"conv{number + 1}")(x)
    x = layers.Flatten()(x)
    for number, units in enumerate(run.dense_units):
        x = _dense(units, "relu", run.precision, seed, _HIDDEN[number], f"fc{number + 1}")(x)
    x = layers.Dropout(run.dropout, seed=_seed(seed, _DROPOUT), name="dropout")(x)
    scores = _dense(classes, None, "float32", seed, _OUTPUT, "scores")(x)
    return keras.Model({"image": image}, {"scores": scores}, name="mnist_baseline")


def multimnist_baseline(
    run: RunConfig, image_shape: tuple[int, int, int], *, classes: int = 10, digits: int = 2, seed: int = 0
) -> keras.Model:
    """The baseline of Table 1 on MultiMNIST: two convolutions with pooling, dense layers, optional dropout, C logits.

    The first kernel is 9x9 in the recipe `paper` and 5x5 in `released`. With SAME padding the former gives the paper's
    24.56M parameters, 24,563,978. Pixels are flattened channel by channel, as in the released checkpoints.
    """
    image = keras.Input(image_shape, name="image")
    x = image
    first = 9 if run.recipe_of_layers == "paper" else 5
    for number, (channels, size) in enumerate(zip(run.conv_channels, (first, 5), strict=True)):
        x = _convolution(channels, size, run, 0.05, seed, _CONVOLUTIONS[number], f"conv{number + 1}")(x)
        x = layers.MaxPooling2D(2, 2, padding="same", name=f"pool{number + 1}")(x)
    x = layers.Flatten()(layers.Permute((3, 1, 2))(x))
    for number, units in enumerate(run.dense_units):
        x = _dense(units, "relu", run.precision, seed, _HIDDEN[number], f"fc{number + 1}")(x)
    if run.dropout:
        x = layers.Dropout(run.dropout, seed=_seed(seed, _DROPOUT), name="dropout")(x)
    scores = _dense(classes, None, "float32", seed, _OUTPUT, "scores")(x)
    return keras.Model({"image": image}, {"scores": scores}, name="multimnist_baseline")


def classifier(model: keras.Model) -> keras.Model:
    """The part of a network from `image` to `scores`, without the decoder."""
    return keras.Model(model.input["image"], model.output["scores"], name=f"{model.name}_classifier")


def flattened(images: np.ndarray) -> np.ndarray:
    """Flattens images `(..., H, W, D)` to the decoder's pixels `(..., D*H*W)`, channel by channel as released."""
    depth_first: np.ndarray = images.__array_namespace__().moveaxis(images, -1, -3)  # of NumPy or JAX
    return depth_first.reshape(*images.shape[:-3], -1)


def unflattened(pixels: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Reshapes the decoder's pixels `(..., D*H*W)` to images `(..., H, W, D)`, the inverse of `flattened`."""
    height, width, depth = image_shape
    return np.moveaxis(pixels.reshape(*pixels.shape[:-1], depth, height, width), -3, -1)


@keras.saving.register_keras_serializable("capsrepro")
class Lengths(layers.Layer):
    """The class scores of a CapsNet: capsules `(B, C, D)` to their lengths `(B, C)`, see `routing.lengths`."""

    def call(self, capsules: Any) -> Any:
        """Computes the lengths."""
        return lengths(capsules)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """`(B, C)`."""
        return input_shape[:-1]


@keras.saving.register_keras_serializable("capsrepro")
class Mask(layers.Layer):
    """Masks all capsules but that of one class, for each digit (section 4.1).

    Maps capsules `(B, C, D)` and one-hot masks `(B, T, C)` to `(B, T, C*D)`.
    """

    def call(self, inputs: Any) -> Any:
        """Multiplies by the mask."""
        capsules, mask = inputs
        masked = mask[..., None] * capsules[:, None]  # (B, T, C, D)
        return keras.ops.reshape(masked, (-1, masked.shape[1], masked.shape[2] * masked.shape[3]))

    def compute_output_shape(self, input_shape: Any) -> tuple[int, ...]:
        """`(B, T, C*D)`."""
        (batch, classes, atoms), (_, digits, _) = input_shape
        return (batch, digits, classes * atoms)


def decoder(run: RunConfig, image_shape: tuple[int, int, int], seed: int) -> keras.Sequential:
    """The decoder: dense layers from masked capsules `(B, T, C*D)` to pixels `(B, T, D*H*W)` in [0, 1] (Figure 2).

    All T digits are reconstructed with the same weights.
    """
    pixels = math.prod(image_shape)
    hidden = [
        _dense(units, "relu", run.precision, seed, _HIDDEN[number], f"decoder{number + 1}")
        for number, units in enumerate(run.dense_units)
    ]
    last = _dense(pixels, "sigmoid", "float32", seed, _OUTPUT, f"decoder{len(hidden) + 1}")
    return keras.Sequential([*hidden, last], name="reconstruction")


def _convolution(
    channels: int, size: int, run: RunConfig, stddev: float, seed: int, number: int, name: str
) -> layers.Conv2D:
    return layers.Conv2D(
        channels,
        size,
        padding=run.padding,
        activation="relu",
        kernel_initializer=_normal(stddev, seed, number),
        bias_initializer=keras.initializers.Constant(0.1),
        dtype=run.precision,
        name=name,
    )


def _dense(units: int, activation: str | None, precision: str, seed: int, number: int, name: str) -> layers.Dense:
    return layers.Dense(
        units,
        activation=activation,
        kernel_initializer=_normal(0.1, seed, number),
        bias_initializer=keras.initializers.Constant(0.1),
        dtype=precision,
        name=name,
    )


def _normal(stddev: float, seed: int, number: int) -> keras.initializers.Initializer:
    """The released code's truncated normal, with a seed of its own for each layer."""
    return keras.initializers.TruncatedNormal(stddev=stddev, seed=_seed(seed, number))


def _seed(seed: int, number: int) -> int:
    return 1000 * seed + number
