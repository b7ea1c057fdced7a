"""The image operations against plain NumPy, one image at a time."""

import numpy as np
import pytest

from capsrepro.data import distortion
from tests.support.digits import philox

GENERATOR = philox(7)
IMAGES = GENERATOR.integers(0, 256, (9, 6, 7, 3)).astype(np.float32)
FLIPS = np.arange(9) % 2 == 0
DELTAS = GENERATOR.uniform(-63, 63, 9)
FACTORS = GENERATOR.uniform(0.2, 1.8, 9)


def test_cropped_takes_each_square_at_its_own_place() -> None:
    places = np.stack([np.arange(9) % 3, np.arange(9) % 4], axis=1)  # the last of them touch the lower right corner
    squares = distortion.cropped(IMAGES, 4, places)
    assert squares.shape == (9, 4, 4, 3)
    for square, image, (top, left) in zip(squares, IMAGES, places, strict=True):
        assert np.array_equal(square, image[top : top + 4, left : left + 4])


@pytest.mark.parametrize(("size", "top", "left"), [(4, 1, 1), (3, 1, 2), (6, 0, 0)])
def test_cropped_takes_the_centre_rounded_towards_the_upper_left(size: int, top: int, left: int) -> None:
    expected = IMAGES[:, top : top + size, left : left + size]
    assert np.array_equal(distortion.cropped(IMAGES, size), expected)


def test_cropped_takes_all_of_an_image_of_that_size() -> None:
    square = IMAGES[:, :, :6].astype(np.uint8)
    whole = distortion.cropped(square, 6, np.zeros((9, 2), int))
    assert whole.dtype == np.uint8
    assert np.array_equal(whole, square)


def test_flipped_mirrors_the_chosen_images_only() -> None:
    for mirrored, image, flip in zip(distortion.flipped(IMAGES, FLIPS), IMAGES, FLIPS, strict=True):
        assert np.array_equal(mirrored, np.flip(image, axis=1) if flip else image)


def test_flipped_twice_is_the_image_and_the_argument_is_left_alone() -> None:
    before = IMAGES.copy()
    assert np.array_equal(distortion.flipped(distortion.flipped(IMAGES, FLIPS), FLIPS), before)
    assert np.array_equal(IMAGES, before)


def test_brightness_adds_one_number_to_each_image_without_clipping() -> None:
    assert distortion.brightness(IMAGES, DELTAS).dtype == np.float32
    np.testing.assert_allclose(
        distortion.brightness(IMAGES, DELTAS) - IMAGES, np.ones((9, 6, 7, 3)) * DELTAS[:, None, None, None], atol=1e-4
    )
    assert distortion.brightness(np.full((1, 2, 2, 1), 250, np.float32), np.array([63.0])).max() == 313


def test_contrast_scales_about_the_mean_of_each_channel() -> None:
    scaled = distortion.contrast(IMAGES, FACTORS)
    assert scaled.dtype == np.float32
    for ours, image, factor in zip(scaled, IMAGES.astype(np.float64), FACTORS, strict=True):
        for channel in range(3):
            mean = image[..., channel].mean()
            np.testing.assert_allclose(ours[..., channel], mean + factor * (image[..., channel] - mean), atol=1e-3)


def test_contrast_by_hand() -> None:
    image = np.array([10, 30], np.float32).reshape(1, 1, 2, 1)  # mean 20
    assert distortion.contrast(image, np.array([0.5])).ravel().tolist() == [15, 25]


def test_standardised_has_mean_zero_and_variance_one_in_each_image() -> None:
    result = distortion.standardised(IMAGES)
    assert result.dtype == np.float32
    for ours, image in zip(result, IMAGES.astype(np.float64), strict=True):
        np.testing.assert_allclose(ours, (image - image.mean()) / image.std(), atol=1e-5)


def test_standardised_divides_by_no_less_than_one_over_the_root_of_the_number_of_values() -> None:
    constant = np.full((1, 4, 4, 1), 200, np.float32)
    assert not distortion.standardised(constant).any()
    faint = np.zeros((1, 4, 4, 1), np.float32)
    faint[0, 0, 0, 0] = 0.16  # mean 0.01, deviation 0.039, below 1 / sqrt(16)
    np.testing.assert_allclose(distortion.standardised(faint)[0, 0, :2, 0], [0.15 * 4, -0.01 * 4], rtol=1e-5)


def test_standardised_takes_brightness_out() -> None:
    lit = distortion.brightness(IMAGES, DELTAS)
    np.testing.assert_allclose(distortion.standardised(lit), distortion.standardised(IMAGES), atol=1e-5)
