"""batch(step) is a pure function of (seed, step)."""

import tracemalloc

import numpy as np
import pytest

from capsrepro.data import batches
from capsrepro.data.mnist import Mnist
from tests.support.digits import Digits


@pytest.fixture
def stream(digits: Digits) -> batches.Stream:
    images, labels = digits
    return batches.Stream(Mnist(images[:100], labels[:100], name="few", sha256="", shift=2), 32, 7)


def test_a_batch_depends_on_seed_and_step_alone(stream: batches.Stream) -> None:
    forwards = [stream.batch(step) for step in range(5)]
    backwards = [batches.Stream(stream.dataset, 32, 7).batch(step) for step in reversed(range(5))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(forwards[0].images, batches.Stream(stream.dataset, 32, 8).batch(0).images)
    assert not np.array_equal(forwards[0].images, forwards[1].images)


@pytest.mark.parametrize(("size", "batch"), [(100, 32), (10, 25), (7, 7)])
def test_a_pass_is_a_permutation_and_batches_run_on_across_its_end(size: int, batch: int) -> None:
    steps = 3 * size // batch + 1
    sequence = np.concatenate([batches.order(3, step * batch, (step + 1) * batch, size) for step in range(steps)])
    passes = [sequence[number * size : (number + 1) * size] for number in range(3)]
    assert all(sorted(one) == list(range(size)) for one in passes)
    assert not np.array_equal(passes[0], passes[1])


def test_a_batch_of_sixty_million_examples_takes_no_array_of_them() -> None:
    start = 7 * 60_000_000 - 3  # across the end of the seventh pass
    tracemalloc.start()
    indices = batches.order(0, start, start + 128, 60_000_000)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000  # bytes
    tracemalloc.stop()
    assert (indices.shape, indices.dtype) == ((128,), np.int64)
    assert np.all((indices >= 0) & (indices < 60_000_000))
    assert not np.array_equal(indices, batches.order(1, start, start + 128, 60_000_000))


def test_shapes_types_and_range(stream: batches.Stream) -> None:
    batch = stream.batch(0)
    assert (batch.images.shape, batch.images.dtype) == ((32, 28, 28, 1), np.float32)
    assert (batch.labels.shape, batch.labels.dtype) == ((32, 1), np.int32)
    assert batch.targets.shape == (32, 1, 28, 28, 1)
    assert batch.images.min() == 0.0
    assert batch.images.max() == 1.0


def test_a_shift_moves_down_and_right_and_fills_with_zeros() -> None:
    images = np.arange(1, 10, dtype=np.uint8).reshape(1, 3, 3, 1).repeat(3, axis=0)
    moved = batches.shifted(images, np.array([[1, 0], [0, -1], [0, 0]]))[..., 0]
    assert moved[0].tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert moved[1].tolist() == [[2, 3, 0], [5, 6, 0], [8, 9, 0]]
    assert moved[2].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert moved.dtype == np.uint8


def test_a_shift_moves_channels_and_rectangles_as_a_plain_loop_does() -> None:
    images = np.arange(6 * 4 * 5 * 2, dtype=np.float32).reshape(6, 4, 5, 2) + 1
    shifts = np.array([[4, 0], [-4, 3], [1, -3], [-1, 2], [0, 0], [3, 3]])
    expected = np.zeros_like(images)
    for image, (down, right) in enumerate(shifts):
        for row in range(4):
            for column in range(5):
                if 0 <= row - down < 4 and 0 <= column - right < 5:
                    expected[image, row, column] = images[image, row - down, column - right]
    assert np.array_equal(batches.shifted(images, shifts), expected)


def test_training_shifts_by_every_amount_up_to_two_and_no_more() -> None:
    dot = np.zeros((1, 9, 9, 1), np.uint8)
    dot[0, 4, 4] = 255
    data = Mnist(dot, np.zeros(1), name="dot", sha256="", shift=2)
    seen = data.distorted(np.zeros(5000, int), batches.generator(0, 1, 0)).images.reshape(5000, 9, 9)
    share = seen.mean(axis=0)
    assert np.count_nonzero(share) == 25
    assert np.all(np.abs(share[2:7, 2:7] - 1 / 25) < 0.015)  # five standard deviations of a share of 1/25


def test_a_test_image_is_never_shifted(stream: batches.Stream) -> None:
    batch = stream.dataset.batch(np.arange(10))
    assert np.array_equal(np.rint(batch.images * 255), stream.dataset.images[:10])
