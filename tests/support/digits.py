"""MNIST's test digits as files, without a network, and what tests are skipped for."""

import gzip
import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
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
