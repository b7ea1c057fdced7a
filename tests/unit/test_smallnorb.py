"""smallNORB: the matrix format is read strictly; training sees distorted crops of halved pairs, a test the middle."""

import struct
from pathlib import Path

import numpy as np
import pytest

from capsrepro.core.errors import Error
from capsrepro.data import smallnorb
from tests.support.digits import philox

FETCH = "python -m experiments.fetch smallnorb"
BYTE, INT32 = np.dtype("u1"), np.dtype("<i4")


def matrix(array: np.ndarray) -> bytes:
    """Bytes in the NORB format; at least three sizes are stored."""
    magic = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54}[array.dtype.name]
    sizes = (*array.shape, 1, 1)[: max(3, array.ndim)]
    return struct.pack(f"<{2 + len(sizes)}I", magic, array.ndim, *sizes) + array.tobytes()


def pairs(count: int) -> np.ndarray:
    """Random pairs (N, 2, 96, 96), darker at the edge, so that a crop's means are not the image's."""
    images = philox(3).integers(0, 128, (count, 2, 96, 96), dtype=np.uint8)
    images[:, 0, 30:66, 30:66] += 100
    images[:, 1] //= 2
    return images


def toys(count: int) -> smallnorb.SmallNorb:
    images = smallnorb.halved(np.moveaxis(pairs(count), 1, -1))
    return smallnorb.SmallNorb(images, np.arange(count) % 5, name="some", sha256="x")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(smallnorb, "COUNTS", {"train": 6, "test": 4})
    for split, count in smallnorb.COUNTS.items():
        images, labels = smallnorb.FILES[split]
        (tmp_path / images).write_bytes(matrix(pairs(count)))
        (tmp_path / labels).write_bytes(matrix(np.arange(count, dtype=np.int32) % 5))
    return tmp_path


def test_splits_are_read_halved_and_with_both_eyes_last(folder: Path) -> None:
    train = smallnorb.load(folder, "train", sha256="x")
    assert (train.images.shape, train.images.dtype, train.name, train.sha256) == (
        (6, 48, 48, 2),
        np.uint8,
        "smallnorb-train",
        "x",
    )
    assert np.array_equal(train.images[5, :, :, 1], pairs(6)[5, 1, ::2, ::2])
    assert train.labels.tolist() == [0, 1, 2, 3, 4, 0]
    assert (train.image_shape, train.digits, train.classes) == ((32, 32, 2), 1, 5)
    assert len(smallnorb.load(folder, "test")) == 4
    assert smallnorb.load(folder, "test", examples=2).labels.tolist() == [0, 1]


def test_halved_keeps_every_second_pixel() -> None:
    images = np.arange(32, dtype=np.uint8).reshape(1, 4, 4, 2)
    halves = smallnorb.halved(images)
    assert halves[0, :, :, 0].tolist() == [[0, 4], [16, 20]]
    assert halves[0, :, :, 1].tolist() == [[1, 5], [17, 21]]
    assert halves.flags.c_contiguous
    assert not np.shares_memory(halves, images)


def test_matrix_of_one_dimension_has_three_sizes(tmp_path: Path) -> None:
    (tmp_path / "some.mat").write_bytes(struct.pack("<5I2i", 0x1E3D4C54, 1, 2, 1, 1, -3, 70_000))
    assert smallnorb.read_matrix(tmp_path / "some.mat", INT32, (2,)).tolist() == [-3, 70_000]


GOOD = matrix(np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD[:-1], "expected 48 bytes, received 47"),
        (GOOD + b"x", "expected 48 bytes, received 49"),
        (b"", "too short for a NORB header of 24 bytes, received 0"),
        (GOOD[:23], "too short for a NORB header of 24 bytes, received 23"),
        (b"\x54" + GOOD[1:], "expected the magic number 0x1e3d4c55, received 0x1e3d4c54"),
        (GOOD[3::-1] + GOOD[4:], "received 0x554c3d1e"),
        (GOOD[:4] + b"\x03" + GOOD[5:], r"expected \(2, 1, 3, 4\), its header says \(2, 1, 3\)"),
        (GOOD[:4] + b"\xff" + GOOD[5:], r"expected \(2, 1, 3, 4\), its header says \(2, 1, 3, 4\)"),
        (GOOD[:8] + b"\x03" + GOOD[9:], r"its header says \(3, 1, 3, 4\)"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "some.mat").write_bytes(content)
    with pytest.raises(Error, match=rf"some\.mat: .*{message}.*; delete it and run `{FETCH}`"):
        smallnorb.read_matrix(tmp_path / "some.mat", BYTE, (2, 1, 3, 4))


@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_that_is_no_class_is_refused(folder: Path, label: int) -> None:
    labels = np.array([0, 1, label, 3], np.int32)
    (folder / smallnorb.FILES["test"][1]).write_bytes(matrix(labels))
    with pytest.raises(
        Error, match=rf"testing-cat\.mat: expected labels 0-4, received {labels.min()} to {labels.max()}"
    ):
        smallnorb.load(folder, "test")


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_file_is_named(folder: Path, which: int) -> None:
    name = smallnorb.FILES["train"][which]
    (folder / name).unlink()
    with pytest.raises(Error, match=rf"{name}: not readable .*run `{FETCH}`"):
        smallnorb.load(folder, "train")


def test_batch_is_the_standardised_middle_and_what_is_to_be_drawn() -> None:
    data = toys(3)
    batch = data.batch(np.array([2, 0]))
    for ours, image in zip(batch.images, data.images[[2, 0], 8:40, 8:40].astype(np.float64), strict=True):
        np.testing.assert_allclose(ours, (image - image.mean()) / image.std(), atol=1e-5)
    assert (batch.images.dtype, batch.labels.dtype, batch.labels.tolist()) == (np.float32, np.int32, [[2], [0]])
    assert batch.targets.shape == (2, 1, 32, 32, 2)
    assert np.array_equal(batch.targets[:, 0], batch.images)


def test_distorted_is_a_function_of_the_generator() -> None:
    data, indices = toys(8), np.arange(8)
    first = data.distorted(indices, philox(1))
    assert np.array_equal(first.images, data.distorted(indices, philox(1)).images)
    assert not np.array_equal(first.images, data.distorted(indices, philox(2)).images)
    assert np.array_equal(first.targets[:, 0], first.images)
    assert (first.images.shape, first.images.dtype) == ((8, 32, 32, 2), np.float32)


def test_distorted_is_a_crop_with_a_contrast_about_the_means_of_the_whole_image() -> None:
    """An eye of what comes out is a rising line of an eye of the crop.

    With a factor f about the image's means M, a pixel x comes out as (f (x - M) + M + c) / s, where both eyes share f,
    c and s. So f is the slope f / s times s, and the difference between the eyes' means gives s.
    """
    data, indices = toys(40), np.arange(40)
    places, factors = set(), []
    for ours, image in zip(data.distorted(indices, philox(5)).images, data.images.astype(np.float64), strict=True):
        top, left = next(
            (top, left)
            for top in range(17)
            for left in range(17)
            if np.corrcoef(ours[..., 1].ravel(), image[top : top + 32, left : left + 32, 1].ravel())[0, 1] > 0.999
        )
        crop = image[top : top + 32, left : left + 32]
        slope, _ = np.polyfit(crop[..., 1].ravel(), ours[..., 1].ravel(), 1)
        of_image, of_crop, of_ours = (-np.diff(x.mean(axis=(0, 1)))[0] for x in (image, crop, ours))  # left less right
        scale = of_image / (of_ours - slope * (of_crop - of_image))
        factors.append(slope * scale)
        places |= {top, left}
    assert {0, 16} <= places
    assert 0.2 <= min(factors) < 0.5
    assert 1.5 < max(factors) <= 1.8
