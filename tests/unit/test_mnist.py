"""IDX files: what is not exactly the published format is refused by name."""

from pathlib import Path

import numpy as np
import pytest

from capsrepro.core.errors import Error
from capsrepro.data import mnist
from tests.support.digits import Digits, idx, unpacked


def test_the_published_test_files_are_read(tmp_path: Path, digits: Digits) -> None:
    for name in mnist.FILES["test"]:
        (tmp_path / name).write_bytes(unpacked(name))
    data = mnist.load(tmp_path, "test", sha256="x")
    assert (len(data), data.image_shape, data.digits, data.classes) == (10_000, (28, 28, 1), 1, 10)
    assert np.bincount(data.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.array_equal(data.images, digits[0])


def test_validation_is_the_first_10_000_training_images(tmp_path: Path) -> None:
    images = np.zeros((60_000, 28, 28), np.uint8)
    images[:, 0, 0] = np.arange(60_000) // 10_000
    for name, array in zip(mnist.FILES["train"], (images, np.zeros(60_000, np.uint8)), strict=True):
        (tmp_path / name).write_bytes(idx(array))
    assert mnist.load(tmp_path, "test", validate=True).images[:, 0, 0].max() == 0
    rest = mnist.load(tmp_path, "train", validate=True)
    assert (len(rest), rest.images[:, 0, 0].min(), rest.name) == (50_000, 1, "mnist-train-validation")
    assert len(mnist.load(tmp_path, "train", examples=100)) == 100


GOOD = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD[:-1], "expected 40 bytes, received 39"),
        (GOOD + b"x", "expected 40 bytes, received 41"),
        (b"", "too short for an IDX header of 16 bytes, received 0"),
        (GOOD[:10], "too short"),
        (b"\0\0\x0d\x03" + GOOD[4:], "expected the magic number 2051, received 3331"),
        (GOOD[:7] + b"\x03" + GOOD[8:], r"its header says \(3, 3, 4\)"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "some-idx").write_bytes(content)
    with pytest.raises(Error, match=rf"some-idx: .*{message}"):
        mnist.read_idx(tmp_path / "some-idx", (2, 3, 4))


def test_a_missing_file_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(Error, match="python -m experiments.fetch mnist"):
        mnist.read_idx(tmp_path / "none", (1,))
