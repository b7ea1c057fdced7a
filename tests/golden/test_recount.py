"""The published weights, counted again by NumPy from the equations of the paper: nothing of the library is imported.

It takes about a minute of two cores: the second convolution alone is 3.8e12 multiplications and additions.
"""

import gzip
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted((ROOT / "results" / "full" / "weights").glob("*.weights.h5"))
BLOCK = 100  # images at a time; their primary convolution needs 33 MB


def mnist_test(kind: str) -> np.ndarray:
    """MNIST's test `images`, (10000, 28, 28) in [0, 1], or `labels`."""
    name, header, shape = {"images": ("images-idx3", 16, (-1, 28, 28)), "labels": ("labels-idx1", 8, (-1,))}[kind]
    content = gzip.decompress((ROOT / "tests" / "data" / f"t10k-{name}-ubyte.gz").read_bytes())
    values = np.frombuffer(content, np.uint8, offset=header).reshape(shape)
    return values / np.float32(255) if kind == "images" else values


def squash(s: np.ndarray) -> np.ndarray:
    """Equation 1: the length |s|^2 / (1 + |s|^2), the direction of s."""
    squared = np.square(s).sum(axis=-1, keepdims=True)
    return s * np.sqrt(squared) / (1 + squared)


def scores(images: np.ndarray, weights: dict[str, list[np.ndarray]]) -> np.ndarray:
    """The lengths of the digit capsules, (B, 10): section 4, and three iterations of Procedure 1."""
    kernel, bias = weights["conv2d"]  # 9x9, stride 1, ReLU
    patches = np.lib.stride_tricks.sliding_window_view(images, (9, 9), axis=(1, 2)).reshape(-1, 81)
    features = np.maximum(patches @ kernel.reshape(81, 256) + bias, 0).reshape(-1, 20, 20, 256)

    kernel, bias = weights["primary_capsules"]  # 9x9, stride 2, no ReLU; row after row of the kernel
    grid = np.zeros((len(images) * 36, 256), np.float32)
    for row in range(9):
        seen = np.lib.stride_tricks.sliding_window_view(features[:, row : row + 11 : 2], 9, axis=2)[:, :, ::2]
        grid += seen.swapaxes(3, 4).reshape(-1, 9 * 256) @ kernel[row].reshape(9 * 256, 256)
    grid = grid / 32 + bias  # the released code routes evenly to 32 types, before the bias
    below = squash(grid.reshape(-1, 36, 32, 8).swapaxes(1, 2)).reshape(-1, 1152, 8)  # type by type

    matrices, bias = weights["digit_capsules"]  # (10, 1152, 8, 16)
    side_by_side = matrices.transpose(1, 2, 0, 3).reshape(1152, 8, 160)
    votes = (below.swapaxes(0, 1) @ side_by_side).reshape(1152, -1, 10, 16)  # Equation 2
    votes = np.ascontiguousarray(votes.transpose(1, 2, 0, 3))  # (B, 10, 1152, 16)
    logits = np.zeros(votes.shape[:3], np.float32)
    for iteration in range(3):
        couplings = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)  # Equation 3
        capsules = squash((couplings[:, :, None] @ votes)[:, :, 0] + bias)  # the bias is the released code's
        if iteration < 2:
            logits = logits + (votes @ capsules[..., None])[..., 0]
    return np.linalg.norm(capsules, axis=-1)


@pytest.mark.slow
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name.partition(".")[0])
def test_numpy_counts_as_many_wrong_test_digits(path: Path) -> None:
    images, labels = mnist_test("images"), mnist_test("labels")
    with h5py.File(path) as file:
        names = ("conv2d", "primary_capsules", "digit_capsules")
        weights = {name: [np.float32(file[f"layers/{name}/vars/{number}"]) for number in (0, 1)] for name in names}
    answers = [scores(images[start : start + BLOCK], weights).argmax(axis=1) for start in range(0, 10_000, BLOCK)]
    wrong = int((np.concatenate(answers) != labels).sum())
    assert wrong == json.loads(path.with_name(path.name.replace("weights.h5", "json")).read_text())["wrong"]
