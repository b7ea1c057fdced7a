"""Checks the sizes of a network before it is built: padding has to leave pixels, and tensors to fit into memory."""

import itertools
import math

from capsrepro.core import room
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig

_COPIES = 4  # of each parameter in training: the value, its gradient, and Adam's two moments
_BYTES = 4  # of a float32


def check(run: RunConfig, image_shape: tuple[int, int, int], classes: int) -> None:
    """Checks a network for images of this shape.

    Raises:
        Error: the convolutions leave no pixel, or the parameters do not fit into this machine's memory.
    """
    names = f"{run.model} of conv_channels {list(run.conv_channels)}, dense_units {list(run.dense_units)}"
    if run.model == "capsnet":
        names += (
            f", primary_types {run.primary_types}, primary_atoms {run.primary_atoms}, digit_atoms {run.digit_atoms}"
        )
    room.check_memory(_COPIES * _BYTES * parameters(run, image_shape, classes), names)


def check_batch(run: RunConfig, image_shape: tuple[int, int, int], classes: int) -> None:
    """Checks that the largest tensor of a training step fits into this machine's memory.

    Raises:
        Error: it does not, or the convolutions leave no pixel.
    """
    *_, (channels, height, width) = features = _features(run, image_shape)
    largest = max(math.prod(feature) for feature in features)
    if run.model == "capsnet":
        largest = max(largest, channels // run.primary_atoms * height * width * classes * run.digit_atoms)  # the votes
    room.check_memory(_BYTES * run.batch_size * largest, f"a batch_size of {run.batch_size}")


def parameters(run: RunConfig, image_shape: tuple[int, int, int], classes: int) -> int:
    """The number of weights without biases, which is a lower bound for that of parameters."""
    features = _features(run, image_shape)
    depths = [image_shape[2], *(channels for channels, _, _ in features)]
    kernels = [size * size for size, _ in _kernels(run)]
    count = sum(size * before * after for size, before, after in zip(kernels, depths, depths[1:], strict=False))
    channels, height, width = features[-1]
    if run.model == "capsnet":
        count += channels * height * width * classes * run.digit_atoms
        units = [classes * run.digit_atoms, *run.dense_units, math.prod(image_shape)] if run.reconstruction else []
    else:
        units = [channels * height * width, *run.dense_units, classes]
    return count + sum(before * after for before, after in itertools.pairwise(units))


def _kernels(run: RunConfig) -> list[tuple[int, int]]:
    """Size and stride of each convolution, pooling counted with its stride."""
    if run.model == "capsnet":
        return [(9, 1), (9, 2)]
    if run.model == "mnist_baseline":
        return [(5, 1)] * len(run.conv_channels)
    return [(9 if run.recipe_of_layers == "paper" else 5, 1), (5, 1)]


def _features(run: RunConfig, image_shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Channels, height and width after each convolution, of a multimnist_baseline after its pooling."""
    channels = list(run.conv_channels)
    if run.model == "capsnet":
        channels = [channels[0], run.primary_types * run.primary_atoms]
    sides = list(image_shape[:2])
    found: list[tuple[int, int, int]] = []
    for (size, stride), depth in zip(_kernels(run), channels, strict=True):
        if run.padding == "valid":
            sides = [side - size + 1 for side in sides]
        sides = [-(-side // stride) for side in sides]
        if run.model == "multimnist_baseline":
            sides = [-(-side // 2) for side in sides]
        if min(sides) < 1:
            shape = "x".join(map(str, image_shape[:2]))
            raise Error(
                f"padding: valid leaves nothing of {shape} pixels after {len(found) + 1} convolutions; use same"
            )
        found.append((depth, sides[0], sides[1]))
    return found
