"""Words by number are SplitMix64's; a shuffle is a permutation, and no two of them are alike."""

import hashlib

import numpy as np
import pytest
from scipy import stats

from capsrepro.data import hashing

MASK = (1 << 64) - 1
# What SplitMix64 gives from the seed 1234567, as commonly published to test implementations.
PUBLISHED = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]


def splitmix64(seed: int, count: int) -> list[int]:
    """The generator as its authors wrote it, with Python's integers."""
    outputs = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        word = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        outputs.append(word ^ (word >> 31))
    return outputs


def test_words_are_the_outputs_of_splitmix64_from_the_hash_of_the_key() -> None:
    assert splitmix64(1234567, 5) == PUBLISHED
    start = int.from_bytes(hashlib.sha256(b"pairs/train/7").digest()[:8], "big")
    stream = splitmix64(start, 30)
    words = hashing.words(("pairs", "train", 7), np.array([[0, 4], [9, 1]]), 3)
    assert (words.shape, words.dtype) == ((2, 2, 3), np.uint64)
    assert words.tolist() == [[stream[0:3], stream[12:15]], [stream[27:30], stream[3:6]]]


def test_another_key_gives_other_words() -> None:
    streams = [hashing.words(key, np.arange(100), 1) for key in (("a", 0), ("a", 1), ("b", 0), ("a", 0, 0))]
    assert len(np.unique(np.concatenate(streams))) == 400


@pytest.mark.parametrize("word", [0, 1, (1 << 32) - 1, 1 << 32, 0x0123456789ABCDEF, (1 << 63) + 1, MASK])
@pytest.mark.parametrize("size", [1, 2, 10, 81, 54_000, (1 << 32) - 1])
def test_below_is_the_upper_half_of_the_product(word: int, size: int) -> None:
    below = hashing.below(np.array([word], np.uint64), size)
    assert (below.dtype, below.tolist()) == (np.int64, [word * size >> 64])


def test_below_is_uniform_for_each_of_several_sizes() -> None:
    words = hashing.words(("uniform",), np.arange(30_000), 1)[:, 0]
    below = hashing.below(words, np.tile([7, 10, 13], 10_000))
    for offset, size in enumerate([7, 10, 13]):
        assert stats.chisquare(np.bincount(below[offset::3], minlength=size)).pvalue > 0.001


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 100, 1000, 4097])
def test_a_shuffle_is_a_permutation(size: int) -> None:
    order = hashing.shuffled(("order", 3), np.arange(size), size)
    assert (order.dtype, sorted(order)) == (np.int64, list(range(size)))


def test_a_place_holds_the_same_whatever_else_is_asked_for() -> None:
    order = hashing.shuffled(("order", 3), np.arange(1000), 1000)
    assert np.array_equal(hashing.shuffled(("order", 3), np.array([999, 5, 5]), 1000), order[[999, 5, 5]])


def test_each_key_gives_another_shuffle() -> None:
    orders = {hashing.shuffled(("order", key), np.arange(100), 100).tobytes() for key in range(50)}
    assert len(orders) == 50


def test_each_order_of_three_and_each_first_of_ten_is_as_frequent() -> None:
    orders = [tuple(hashing.shuffled(("three", key), np.arange(3), 3)) for key in range(1200)]
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 0.001
    firsts = [int(hashing.shuffled(("ten", key), np.zeros(1, int), 10)[0]) for key in range(2000)]
    assert stats.chisquare(np.bincount(firsts, minlength=10)).pvalue > 0.001


def test_a_shuffle_of_sixty_million_spreads_neighbours_evenly() -> None:
    order = hashing.shuffled(("order", 0), np.arange(59_990_000, 60_000_000), 60_000_000)
    assert len(set(order.tolist())) == 10_000
    assert stats.chisquare(np.histogram(order, bins=20, range=(0, 60_000_000))[0]).pvalue > 0.001
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.05  # five standard deviations of 1 / sqrt(10,000)
