"""CIFAR-10: the binary format is read strictly; training sees distorted crops, a test the middle."""

from pathlib import Path

import numpy as np
import pytest

from capsrepro.core.errors import Error
from capsrepro.data import cifar10
from tests.support.digits import philox

FETCH = "python -m experiments.fetch cifar10"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive as unpacked, with two records a file: record i of the training files is all i, and its label is i."""
    monkeypatch.setattr(cifar10, "COUNTS", {"train": 10, "test": 2})
    monkeypatch.setattr(cifar10, "VALIDATION", 3)
    batches = tmp_path / "cifar-10-batches-bin"
    batches.mkdir()
    records = np.arange(12, dtype=np.uint8)[:, None].repeat(3073, axis=1)
    records[10:, 0] = 9, 0
    for part, name in enumerate((*cifar10.FILES["train"], *cifar10.FILES["test"])):
        (batches / name).write_bytes(records[2 * part : 2 * part + 2].tobytes())
    return tmp_path


def photographs(count: int) -> cifar10.Cifar10:
    images = philox(3).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    images[..., 0] //= 2  # so that the channels' means differ
    return cifar10.Cifar10(images, np.arange(count) % 10, name="some", sha256="x")


def test_splits_are_read_in_the_order_of_the_files(folder: Path) -> None:
    train = cifar10.load(folder, "train", sha256="x")
    assert (train.images.shape, train.images.dtype, train.name, train.sha256) == (
        (10, 32, 32, 3),
        np.uint8,
        "cifar10-train",
        "x",
    )
    assert train.images[:, 5, 6, 2].tolist() == train.labels.tolist() == list(range(10))
    test = cifar10.load(folder, "test")
    assert (len(test), test.labels.tolist(), test.images[1].min()) == (2, [9, 0], 11)
    assert (test.image_shape, test.digits, test.classes) == ((24, 24, 3), 1, 10)


def test_folder_of_the_files_themselves_is_accepted(folder: Path) -> None:
    assert len(cifar10.load(folder / "cifar-10-batches-bin", "train")) == 10


def test_validation_is_the_first_training_images(folder: Path) -> None:
    assert cifar10.load(folder, "test", validate=True).labels.tolist() == [0, 1, 2]
    rest = cifar10.load(folder, "train", validate=True, examples=4)
    assert (rest.labels.tolist(), rest.name) == ([3, 4, 5, 6], "cifar10-train-validation")


def test_record_is_a_label_then_the_red_green_and_blue_rows(tmp_path: Path) -> None:
    record = np.zeros(3073, np.uint8)
    record[0] = 7
    record[1 + 1024 + 32 * 2 + 5] = 200  # green, third row, sixth column
    record.tofile(tmp_path / "some.bin")
    images, labels = cifar10.read_binary(tmp_path / "some.bin", 1)
    assert (labels.tolist(), images[0, 2, 5].tolist(), int(images.sum())) == ([7], [0, 200, 0], 200)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(3072), "expected 3073 bytes, received 3072"),
        (bytes(3074), "expected 3073 bytes, received 3074"),
        (bytes(2 * 3073), "expected 3073 bytes, received 6146"),
        (b"", "expected 3073 bytes, received 0"),
        (b"\x0a" + bytes(3072), "expected labels 0-9, received 10"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "some.bin").write_bytes(content)
    with pytest.raises(Error, match=rf"some\.bin: {message}; delete it and run `{FETCH}`"):
        cifar10.read_binary(tmp_path / "some.bin", 1)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "cifar-10-batches-bin" / "data_batch_4.bin").unlink()
    with pytest.raises(Error, match=rf"data_batch_4\.bin: not readable .*run `{FETCH}`"):
        cifar10.load(folder, "train")


def test_batch_is_the_standardised_middle_and_what_is_to_be_drawn() -> None:
    data = photographs(3)
    batch = data.batch(np.array([2, 0]))
    for ours, image in zip(batch.images, data.images[[2, 0], 4:28, 4:28].astype(np.float64), strict=True):
        np.testing.assert_allclose(ours, (image - image.mean()) / image.std(), atol=1e-5)
    assert (batch.images.dtype, batch.labels.dtype, batch.labels.tolist()) == (np.float32, np.int32, [[2], [0]])
    assert batch.targets.shape == (2, 1, 24, 24, 3)
    assert np.array_equal(batch.targets[:, 0], batch.images)


def test_distorted_is_a_function_of_the_generator() -> None:
    data, indices = photographs(8), np.arange(8)
    first = data.distorted(indices, philox(1))
    assert np.array_equal(first.images, data.distorted(indices, philox(1)).images)
    assert not np.array_equal(first.images, data.distorted(indices, philox(2)).images)
    assert np.array_equal(first.targets[:, 0], first.images)
    assert (first.images.shape, first.images.dtype, first.labels[:, 0].tolist()) == (
        (8, 24, 24, 3),
        np.float32,
        list(range(8)),
    )


def test_distorted_is_a_crop_mirrored_or_not_with_a_contrast_between_a_fifth_and_nine_fifths() -> None:
    """A channel of what comes out is a rising line of a channel of the crop, whatever brightness and contrast were."""
    data, indices = photographs(40), np.arange(40)
    places, flips, factors = set(), set(), []
    for ours, image in zip(data.distorted(indices, philox(5)).images, data.images.astype(np.float64), strict=True):
        top, left, flip = next(
            (top, left, flip)
            for top in range(9)
            for left in range(9)
            for flip in (1, -1)
            if np.corrcoef(ours[..., 1].ravel(), image[top : top + 24, left : left + 24, 1][:, ::flip].ravel())[0, 1]
            > 0.999
        )
        crop = image[top : top + 24, left : left + 24, :][:, ::flip]
        slope, _ = np.polyfit(crop[..., 1].ravel(), ours[..., 1].ravel(), 1)
        means, ours_means = crop.mean(axis=(0, 1)), ours.mean(axis=(0, 1))
        factors.append(slope * (means[1] - means[0]) / (ours_means[1] - ours_means[0]))
        places |= {top, left}
        flips.add(flip)
    assert places == set(range(9))
    assert flips == {1, -1}
    assert 0.2 <= min(factors) < 0.5
    assert 1.5 < max(factors) <= 1.8
