"""Counter-based random numbers and permutations, which make item i of a data set a pure function of (seed, i).

The random words are the outputs of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
OOPSLA 2014, in Vigna's version). Its state is a counter, so any output costs the same and NumPy computes whole arrays
of them. The stream of a key starts at the first 64 bits of the key's SHA-256.
"""

import hashlib

import numpy as np

Key = tuple[int | str, ...]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # increment of SplitMix64's counter: 2^64 / golden ratio
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ROUNDS = 8  # of the Feistel network; four make it pseudorandom (Luby, Rackoff 1988), small sizes need more


def words(key: Key, counters: np.ndarray | int, count: int) -> np.ndarray:
    """Random words, `count` for each counter, from the position `counter * count` of the key's stream on.

    Args:
        key: the purpose, such as `("multimnist", "train", seed)`; each key has its own stream.
        counters: non-negative integers of any shape.
        count: number of words for each counter; their position in the stream depends on it.

    Returns:
        uint64 of shape `(*counters.shape, count)`, uniform over all 2^64 values.
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
        size: 1 to 2^32 - 1, a scalar or an array that broadcasts against `word`.

    Returns:
        int64. The probability of each value differs from 1/size by less than 2^-64, a relative bias below size / 2^64.
    """
    sizes = np.asarray(size).astype(np.uint64)
    upper = (word >> _HALF) * sizes + ((word & _LOW) * sizes >> _HALF)  # no overflow, since size < 2^32
    return (upper >> _HALF).astype(np.int64)


def shuffled(key: Key, places: np.ndarray, size: int) -> np.ndarray:
    """Entries of a random permutation of 0..size-1, without computing the whole permutation.

    A balanced Feistel network permutes all numbers of an even number of bits. A result outside of 0..size-1 is permuted
    again until it is inside: "cycle walking" (Black, Rogaway 2002), at most four passes on average.

    Args:
        key: selects the permutation.
        places: positions in the permutation, integers `(B,)` in 0..size-1.
        size: 1 to 2^62.

    Returns:
        int64 `(B,)`; over all places, each of 0..size-1 occurs once.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)  # bits in each half
    values = np.array(places, dtype=np.uint64)
    outside = np.arange(len(values))
    while len(outside):
        values[outside] = _feistel(key, values[outside], half)
        outside = outside[values[outside] >= size]
    return values.astype(np.int64)


def _feistel(key: Key, values: np.ndarray, half: int) -> np.ndarray:
    """Permutes the numbers of `2 * half` bits; each round XORs a hash of one half onto the other and swaps them."""
    bits = np.uint64(half)
    left, right = values >> bits, values & ((np.uint64(1) << bits) - np.uint64(1))
    for number in range(_ROUNDS):
        left, right = right, left ^ (words((*key, number), right, 1)[..., 0] >> np.uint64(64 - half))
    return left << bits | right
