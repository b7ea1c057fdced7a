"""Shared by all tests: real digits as arrays, and the flag that regenerates goldens."""

import numpy as np
import pytest

from tests.support.digits import unpacked


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """MNIST's 10,000 test digits: uint8 (10000, 28, 28, 1) and labels (10000,)."""
    images = np.frombuffer(unpacked("t10k-images-idx3-ubyte"), np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return images, np.frombuffer(unpacked("t10k-labels-idx1-ubyte"), np.uint8, offset=8)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regen",
        nargs="?",
        const="dry",
        choices=("dry", "write"),
        help="goldens of the results: say, or write, the new",
    )
