"""MNIST's test digits without a network, as arrays, files and a small data set, and what tests are skipped for."""

import gzip
import importlib.util
import struct

import numpy as np
import pytest

from capsrepro.data.mnist import Mnist
from tests.support import ROOT

PACKED = ROOT / "tests" / "data"  # MNIST's test files, gzipped
RELEASED = ROOT / "tests" / "golden" / "data" / "released"  # records and arrays of the released code

Digits = tuple[np.ndarray, np.ndarray]


def unpacked(name: str) -> bytes:
    """The content of one of MNIST's test files."""
    return gzip.decompress((PACKED / f"{name}.gz").read_bytes())


def mnist_digits() -> Digits:
    """MNIST's 10,000 test digits: uint8 (10000, 28, 28, 1) and labels (10000,)."""
    images = np.frombuffer(unpacked("t10k-images-idx3-ubyte"), np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return images, np.frombuffer(unpacked("t10k-labels-idx1-ubyte"), np.uint8, offset=8)


def few_of(digits: Digits, count: int = 50) -> Mnist:
    """The first so many of them as a data set."""
    return Mnist(digits[0][:count], digits[1][:count], name="few", sha256="of few")


def idx(array: np.ndarray) -> bytes:
    """Bytes in the IDX format."""
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def philox(seed: int) -> np.random.Generator:
    """The counter-based generator that the library draws from."""
    return np.random.Generator(np.random.Philox(seed))


def needs_tensorflow(to: str) -> pytest.MarkDecorator:
    """Skips a test where TensorFlow is not installed, which alone can do what `to` says."""
    missing = importlib.util.find_spec("tensorflow") is None
    return pytest.mark.skipif(missing, reason=f"needs TensorFlow to {to}")
