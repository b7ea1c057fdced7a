"""Random words by number, and shuffles without an array: what makes item i of a data set a pure function of (seed, i).

The words are those of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014, in
Vigna's version), whose state is a counter: any of its outputs costs the same, and NumPy makes a whole array of them at
once. Where the stream of a key starts is the first 64 bits of the key's SHA-256.
"""

import hashlib

import numpy as np

Key = tuple[int | str, ...]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # the step of SplitMix64's counter: 2^64 / golden ratio
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ROUNDS = 8  # of the Feistel network; four make it pseudorandom (Luby, Rackoff 1988), small sizes need more


def words(key: Key, counters: np.ndarray | int, count: int) -> np.ndarray:
    """Random words, `count` for each counter: the outputs `counter * count` and following of the key's stream.

    Args:
        key: what the words are for, such as `("multimnist", "train", seed)`; another key is another stream.
        counters: non-negative integers of any shape.
        count: how many words a counter has; it is part of where they lie in the stream.

    Returns:
        uint64 of the shape of `counters` and `count`, uniform over all 2^64 values.
    """
    start = np.uint64(int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:8]))
    firsts = np.asarray(counters).astype(np.uint64)[..., None] * np.uint64(count)
    places = firsts + np.arange(1, count + 1, dtype=np.uint64)  # (..., count)
    state: np.ndarray = start + _GAMMA * places
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return state


def below(word: np.ndarray, size: np.ndarray | int) -> np.ndarray:
    """Maps random words to 0..size-1 without rejection: the upper 64 bits of the product word * size (Lemire 2019).

    Args:
        word: uint64.
        size: 1 to 2^32 - 1, a number or an array that broadcasts against `word`.

    Returns:
        int64. The probability of each value differs from 1/size by less than 2^-64, a relative bias below size / 2^64.
    """
    sizes = np.asarray(size).astype(np.uint64)
    upper = (word >> _HALF) * sizes + ((word & _LOW) * sizes >> _HALF)  # no overflow, since size < 2^32
    return (upper >> _HALF).astype(np.int64)


def shuffled(key: Key, places: np.ndarray, size: int) -> np.ndarray:
    """What stands at some places of a random order of 0..size-1, without ever making the whole of it.

    A balanced Feistel network permutes the numbers of the next even number of bits; one that it takes out of 0..size-1
    goes through it again until it is back inside: "cycle walking" (Black, Rogaway 2002), at most four times on average.

    Args:
        key: which order.
        places: integers `(B,)` in 0..size-1.
        size: 1 to 2^62.

    Returns:
        int64 `(B,)`; over all places each of 0..size-1 once.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)  # bits of either half
    values = np.array(places, dtype=np.uint64)
    outside = np.arange(len(values))
    while len(outside):
        values[outside] = _feistel(key, values[outside], half)
        outside = outside[values[outside] >= size]
    return values.astype(np.int64)


def _feistel(key: Key, values: np.ndarray, half: int) -> np.ndarray:
    """A permutation of the numbers of `2 * half` bits: each round xors a hash of one half onto the other and swaps."""
    bits = np.uint64(half)
    left, right = values >> bits, values & ((np.uint64(1) << bits) - np.uint64(1))
    for number in range(_ROUNDS):
        left, right = right, left ^ (words((*key, number), right, 1)[..., 0] >> np.uint64(64 - half))
    return left << bits | right
