"""The real CIFAR-10 as our reader gives it: known labels, counts and means; crops in training, the middle in a test."""

import numpy as np
import pytest

from capsrepro.data.batches import Stream, order
from capsrepro.data.mnist import Split
from tests.support.photographs import needs_photographs, photographs

pytestmark = needs_photographs

FIRST = {"train": [6, 9, 9, 4, 1, 1, 2, 7, 8, 3], "test": [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]}
MEANS = (0.4914, 0.4822, 0.4465)  # of the training photographs: red, green, blue


@pytest.mark.parametrize(("split", "each"), [("train", 5_000), ("test", 1_000)])
def test_every_class_has_its_count_and_the_first_labels_are_the_published(split: Split, each: int) -> None:
    labels = photographs(split).labels
    assert np.bincount(labels).tolist() == [each] * 10
    assert labels[:10].tolist() == FIRST[split]


def test_means_of_the_channels_are_the_published() -> None:
    images = photographs("train").images
    assert np.round(images.mean(axis=(0, 1, 2), dtype=np.float64) / 255, 4).tolist() == list(MEANS)


def test_photographs_stand_upright() -> None:
    """Neighbouring pixels are alike, along rows and along columns; most skies are brighter than the ground."""
    images = photographs("test").images[:2000].astype(np.float32)
    apart = np.abs(images - np.roll(images, 7, axis=0)).mean()
    assert np.abs(np.diff(images, axis=1)).mean() < 0.3 * apart
    assert np.abs(np.diff(images, axis=2)).mean() < 0.3 * apart
    planes = images[photographs("test").labels[:2000] == 0]
    assert planes[:, :8].mean() > planes[:, 24:].mean()


def test_a_test_batch_is_the_standardised_middle() -> None:
    data = photographs("test")
    batch = data.batch(np.arange(200))
    crops = data.images[:200, 4:28, 4:28].astype(np.float64)
    scale = np.maximum(crops.std(axis=(1, 2, 3)), 1 / np.sqrt(24 * 24 * 3))
    expected = (crops - crops.mean(axis=(1, 2, 3), keepdims=True)) / scale[:, None, None, None]
    np.testing.assert_allclose(batch.images, expected, atol=1e-4)


def test_a_training_batch_has_crops_from_anywhere_mirrored_or_not_and_standardised_last() -> None:
    """Brightness and contrast keep a channel of a crop a rising line of itself, so that the crop can be found."""
    data = photographs("train")
    batch = Stream(data, 128, seed=0).batch(0)
    numbers = order(0, 0, 128, len(data))
    assert batch.images.shape == (128, 24, 24, 3)
    assert batch.labels[:, 0].tolist() == data.labels[numbers].tolist()
    np.testing.assert_allclose(batch.images.mean(axis=(1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(batch.images.std(axis=(1, 2, 3)), 1, atol=1e-3)
    found = [cut(*both) for both in zip(batch.images[:24, ..., 1], data.images[numbers[:24], ..., 1], strict=True)]
    assert {flip for _, _, flip in found} == {1, -1}
    assert len({top for top, _, _ in found}) >= 6
    assert len({left for _, left, _ in found}) >= 6


def cut(ours: np.ndarray, photograph: np.ndarray) -> tuple[int, int, int]:
    """Where a crop is from: top, left, and -1 if it is mirrored."""
    places = [(top, left, flip) for top in range(9) for left in range(9) for flip in (1, -1)]
    alike = [
        np.corrcoef(ours.ravel(), photograph[top : top + 24, left : left + 24][:, ::flip].ravel())[0, 1]
        for top, left, flip in places
    ]
    assert max(alike) > 0.9999
    return places[int(np.argmax(alike))]
