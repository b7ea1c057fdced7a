"""SVHN: Matlab 5 files, read strictly; whatever is wrong with one, the error names it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from capsrepro.core.errors import Error
from capsrepro.data import svhn
from tests.support.digits import philox

FETCH = "python -m experiments.fetch svhn"
IMAGES = philox(3).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
LABELS = np.array([[1], [10], [9], [5]], np.uint8)


def write(path: Path, **arrays: Any) -> Path:
    """A Matlab file as the published ones: compressed, with `X` and `y`; None leaves one out."""
    content = {"X": IMAGES, "y": LABELS, **arrays}
    scipy.io.savemat(path, {name: array for name, array in content.items() if array is not None}, do_compression=True)
    return path


def refused(path: Path, message: str) -> None:
    with pytest.raises(Error, match=rf"{path.name}: {message}.*; delete it and run `{FETCH}`") as raised:
        svhn.read_matlab(path, 4)
    assert "\n" not in str(raised.value)


def test_splits_are_read_with_ten_as_the_digit_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svhn, "COUNTS", {"train": 4, "test": 3})
    write(tmp_path / "train_32x32.mat")
    write(tmp_path / "test_32x32.mat", X=IMAGES[..., 1:], y=LABELS[1:])
    train = svhn.load(tmp_path, "train", sha256="x")
    assert (train.images.shape, train.images.dtype, train.name, train.sha256) == (
        (4, 32, 32, 3),
        np.uint8,
        "svhn-train",
        "x",
    )
    assert np.array_equal(train.images[2], IMAGES[..., 2])
    assert train.labels.tolist() == [1, 0, 9, 5]
    assert (train.image_shape, train.digits, train.classes) == ((32, 32, 3), 1, 10)
    assert svhn.load(tmp_path, "test").labels.tolist() == [0, 9, 5]
    assert svhn.load(tmp_path, "test", examples=1).labels.tolist() == [0]


def test_batch_is_in_zero_to_one_and_training_sees_the_same(tmp_path: Path) -> None:
    data = svhn.Svhn(*svhn.read_matlab(write(tmp_path / "some.mat"), 4), name="some", sha256="x")
    batch = data.batch(np.array([3, 1]))
    np.testing.assert_allclose(batch.images[0], IMAGES[..., 3] / 255.0, rtol=1e-6)
    assert (batch.images.dtype, batch.labels.dtype, batch.labels.tolist()) == (np.float32, np.int32, [[5], [0]])
    assert batch.targets.shape == (2, 1, 32, 32, 3)
    assert np.array_equal(batch.targets[:, 0], batch.images)
    distorted = data.distorted(np.array([3, 1]), philox(1))
    assert all(np.array_equal(ours, plain) for ours, plain in zip(distorted, batch, strict=True))


def test_labels_may_be_stored_as_doubles(tmp_path: Path) -> None:
    _, labels = svhn.read_matlab(write(tmp_path / "some.mat", y=LABELS.astype(np.float64)), 4)
    assert (labels.dtype, labels.tolist()) == (np.int32, [1, 0, 9, 5])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": None}, r"expected X, uint8 \(32, 32, 3, 4\), received object \(\)"),
        ({"y": None}, r"expected y, numbers \(4, 1\), received object \(\)"),
        ({"X": IMAGES[..., :3]}, r"expected X, .*received uint8 \(32, 32, 3, 3\)"),
        ({"X": IMAGES.astype(np.float64)}, r"expected X, .*received float64 \(32, 32, 3, 4\)"),
        ({"X": {"of": IMAGES}}, r"expected X, .*received "),
        ({"y": LABELS[:3]}, r"expected y, .*received uint8 \(3, 1\)"),
        ({"y": "text"}, r"expected y, .*received <U4 \(1,\)"),
        ({"y": LABELS.astype(object)}, r"expected y, .*received object \(4, 1\)"),
        ({"y": LABELS - 1}, "expected labels 1-10, received 0"),
        ({"y": LABELS + 1}, "expected labels 1-10, received 11"),
        ({"y": LABELS + 0.5}, "expected labels 1-10, received 1.5"),
        ({"y": LABELS * np.nan}, "expected labels 1-10, received nan"),
    ],
)
def test_other_content_is_refused_by_name(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    refused(write(tmp_path / "some.mat", **arrays), message)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    content = write(tmp_path / "some.mat").read_bytes()
    lengths = {*range(0, 260, 3), *range(260, len(content), 997), *range(len(content) - 100, len(content))}
    for length in lengths:
        (tmp_path / "some.mat").write_bytes(content[:length])
        refused(tmp_path / "some.mat", "")


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    content = write(tmp_path / "some.mat").read_bytes()
    for extra in (b"x", b"x" * 200):
        (tmp_path / "some.mat").write_bytes(content + extra)
        refused(tmp_path / "some.mat", "not readable as a Matlab 5 file")


def test_a_changed_byte_of_the_data_is_refused_wherever_it_is(tmp_path: Path) -> None:
    content = write(tmp_path / "some.mat").read_bytes()
    for place in range(128, len(content), 61):  # after the header, most of which is free text
        changed = bytearray(content)
        changed[place] ^= 0xFF
        (tmp_path / "some.mat").write_bytes(changed)
        refused(tmp_path / "some.mat", "")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>" * 100, bytes(1000), b"\x89HDF\r\n\x1a\n" * 100])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some.mat").write_bytes(content)
    refused(tmp_path / "some.mat", "")


def test_a_missing_file_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(Error, match=rf"train_32x32\.mat: not readable .*run `{FETCH}`"):
        svhn.load(tmp_path, "train")
