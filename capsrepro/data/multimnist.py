"""MultiMNIST: two MNIST digits of different classes on top of each other, 60 million pairs to train and 10 to test.

Section 6 of the paper: each digit is overlaid with 1,000 others of its split, each of the two shifted by up to 4 pixels
each way, on 36x36 pixels. Here it is an index: pair number i is a pure function of (split, seed, i), and its pixels are
made when a batch asks. The digits are those of `mnist`, with their source and licence.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.data import hashing, mnist
from capsrepro.data.batches import Batch, Images, shifted, unit

BaseShift = Literal["per_pair", "per_image"]

PAIRS = 1000  # pairs of a digit, as in the paper
_WORDS = 3  # a pair has: for the partner, for either shift


class Pairs(NamedTuple):
    """What pairs are made of. Shifts are rows down and columns to the right, in pixels."""

    base: np.ndarray  # (B,) int64: which digit of the split is below, the first label
    top: np.ndarray  # (B,) int64: which digit, of another class, is on top
    base_shift: np.ndarray  # (B, 2) int64
    top_shift: np.ndarray  # (B, 2) int64


class MultiMnist:
    """Pairs of digits, made when they are asked for: memory holds the digits, however many the pairs.

    Training passes over the pairs in a shuffled order (`batches.order`); nothing else is drawn in training, since the
    shifts and the partner belong to a pair. So `batch` and `distorted` are the same.
    """

    digits = 2
    classes = 10

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        name: str,
        sha256: str,
        seed: int = 0,
        shift: int = 4,
        pad: int = 4,
        base_shift: BaseShift = "per_pair",
        pairs: int = PAIRS,
        nested: bool = False,
    ) -> None:
        """Takes MNIST digits of at least two classes.

        Args:
            images: uint8 `(N, 28, 28, 1)`.
            labels: integers `(N,)` in 0-9.
            name: with the split; another name is another set of pairs.
            sha256: what the digits' files are known by, for provenance.
            seed: another seed is another set of pairs.
            shift: how far a digit is moved each way at most: 4 pixels in the paper, 6 in the released code's README.
            pad: pixels around the digit on either side; of one that is moved further, the part outside is lost.
            base_shift: `per_pair`, or `per_image`: all pairs of a base digit share its shift, as in the released code.
            pairs: how many pairs each digit is the base of.
            nested: number the pairs round by round: one of each of the N digits, then a second of each; pair i has the
                base i % N, so that the pairs of a smaller set are the first of a larger one's. Otherwise digit by
                digit: pair i has the base i // pairs, as in the released code's records.

        Raises:
            Error: all digits are of one class, so that none has a partner.
        """
        self.images = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        self.labels = labels.astype(np.int32)
        self.name, self.sha256, self.seed = name, sha256, seed
        self.shift, self.base_shift, self.pairs_per_digit, self.nested = shift, base_shift, pairs, nested
        self.image_shape: tuple[int, int, int] = self.images.shape[1:]
        self._by_class = np.argsort(self.labels, kind="stable")
        self._counts = np.bincount(self.labels, minlength=self.classes)
        self._starts = np.cumsum(self._counts) - self._counts  # of each class in `_by_class`
        if self._counts.max(initial=0) == len(labels):
            raise Error(
                f"{name}: expected digits of two classes or more, received {len(labels)} of one; take more digits"
            )

    def __len__(self) -> int:
        return len(self.images) * self.pairs_per_digit

    def pairs(self, numbers: np.ndarray | int) -> Pairs:
        """The pairs of these numbers, each in 0 to len - 1: a number's pair is the same whatever else is asked for.

        The partner is uniform over all digits of the other classes, each shift over its (2 * shift + 1)^2 values.
        """
        base = np.asarray(numbers) % len(self.labels) if self.nested else np.asarray(numbers) // self.pairs_per_digit
        words = hashing.words(("multimnist", self.name, self.seed), numbers, _WORDS)
        label = self.labels[base]
        place = hashing.below(words[..., 0], len(self.labels) - self._counts[label])
        place += self._counts[label] * (place >= self._starts[label])  # steps over the base's own class
        base_word = words[..., 1]
        if self.base_shift == "per_image":
            base_word = hashing.words(("multimnist base shift", self.name, self.seed), base, 1)[..., 0]
        return Pairs(base, self._by_class[place], self._shifts(base_word), self._shifts(words[..., 2]))

    def _shifts(self, word: np.ndarray) -> np.ndarray:
        side = 2 * self.shift + 1
        return np.stack(np.divmod(hashing.below(word, side * side), side), axis=-1) - self.shift

    def rendered(self, numbers: np.ndarray) -> tuple[Images, Images, Images, np.ndarray]:
        """The pixels of these pairs.

        Returns:
            Merged image min(255, first + second), base digit and partner, uint8 `(B, H, W, 1)` each, and the two
            labels, int32 `(B, 2)`.
        """
        pairs = self.pairs(numbers)
        first = shifted(self.images[pairs.base], pairs.base_shift)  # padded, then shifted, as the released writer does
        second = shifted(self.images[pairs.top], pairs.top_shift)
        merged = first + np.minimum(second, 255 - first)
        return merged, first, second, self.labels[np.stack([pairs.base, pairs.top], axis=-1)]

    def batch(self, indices: np.ndarray) -> Batch:
        """The pairs as they are; what is to be drawn is the base digit, then its partner."""
        merged, first, second, labels = self.rendered(indices)
        return Batch(unit(merged), labels, unit(np.stack([first, second], axis=1)))

    def distorted(self, indices: np.ndarray, generator: np.random.Generator) -> Batch:
        """The same: a pair has its shifts already."""
        return self.batch(indices)


def load(
    folder: Path,
    split: mnist.Split,
    *,
    shift: int = 4,
    base_shift: BaseShift = "per_pair",
    pairs: int = PAIRS,
    validate: bool = False,
    examples: int | None = None,
    sha256: str = "",
    seed: int = 0,
) -> MultiMnist:
    """Pairs of the digits of one MNIST split.

    Test pairs are nested, so that results on 10,000 and on 100,000 pairs share the first 10,000. Training pairs stay
    numbered digit by digit: the published weights were trained on these pairs.

    Args:
        folder: holds MNIST's files, see `mnist.load`.
        split: `train` or `test`: pairs never mix digits of the two.
        shift: see `MultiMnist`, as are `base_shift`, `pairs` and `seed`.
        base_shift: `per_pair` or `per_image`.
        pairs: how many pairs each digit is the base of: 60 million and 10 million pairs at the paper's 1,000.
        validate: see `mnist.load`.
        examples: only the first so many digits, as base and as partner.
        sha256: what MNIST's files are known by, for provenance.
        seed: of the pairs; not of the training.

    Raises:
        Error: a file is missing or is not the published one, or the first `examples` digits are all of one class.
    """
    digits = mnist.load(folder, split, validate=validate, examples=examples)
    return MultiMnist(
        digits.images,
        digits.labels,
        name=digits.name.replace("mnist", "multimnist"),
        sha256=sha256,
        seed=seed,
        shift=shift,
        base_shift=base_shift,
        pairs=pairs,
        nested=split == "test",
    )


def index(dataset: MultiMnist) -> dict[str, np.ndarray]:
    """All pairs of a small data set as arrays, to be stored.

    Returns:
        `base` and `top` int32 `(N,)`, `base_shift` and `top_shift` int8 `(N, 2)`, `labels` uint8 `(N, 2)`.
    """
    pairs = dataset.pairs(np.arange(len(dataset)))
    labels = dataset.labels[np.stack([pairs.base, pairs.top], axis=-1)]
    return {
        "base": pairs.base.astype(np.int32),
        "top": pairs.top.astype(np.int32),
        "base_shift": pairs.base_shift.astype(np.int8),
        "top_shift": pairs.top_shift.astype(np.int8),
        "labels": labels.astype(np.uint8),
    }


def build_index(dataset: MultiMnist, path: Path) -> None:
    """Writes `index(dataset)` to an uncompressed .npz file, byte for byte the same each time."""
    with files.replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **index(dataset))
