"""Shared by all tests: real digits, as arrays and as files, without a network."""

import gzip
import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PACKED = ROOT / "tests" / "data"  # MNIST's test files, gzipped


def unpacked(name: str) -> bytes:
    """The content of one of MNIST's test files."""
    return gzip.decompress((PACKED / f"{name}.gz").read_bytes())


def idx(array: np.ndarray) -> bytes:
    """Bytes in the IDX format."""
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def needs_tensorflow(to: str) -> pytest.MarkDecorator:
    """Skips a test where TensorFlow is not installed, which alone can do what `to` says."""
    missing = importlib.util.find_spec("tensorflow") is None
    return pytest.mark.skipif(missing, reason=f"needs TensorFlow to {to}")


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
