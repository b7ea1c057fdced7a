"""MultiMNIST: 60 million training and 10 million test pairs of overlapping MNIST digits of different classes.

Section 6 of the paper: each digit is overlaid with 1,000 others of its split on 36x36 pixels, and each of the two is
shifted by up to 4 pixels in each direction. Here pair i is a pure function of (split, seed, i), and its pixels are
computed on demand. For the source and licence of the digits see `mnist`.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.data import hashing, mnist
from capsrepro.data.batches import Arrays, Batch, Dataset, Images, shifted, unit

BaseShift = Literal["per_pair", "per_image"]

PAIRS = 1000  # pairs per base digit, as in the paper
_WORDS = 3  # random words per pair: one for the partner, one for each of the two shifts


class Pairs(NamedTuple):
    """Digits and shifts of pairs. Shifts are rows down and columns to the right, in pixels."""

    base: np.ndarray  # (B,) int64: index of the lower digit in the split; it has the first label
    top: np.ndarray  # (B,) int64: index of the upper digit, which is of another class
    base_shift: np.ndarray  # (B, 2) int64
    top_shift: np.ndarray  # (B, 2) int64


class MultiMnist(Dataset):
    """Pairs of digits, computed on demand; memory holds only the digits, however many pairs there are.

    Partner and shifts are fixed for each pair, so training only shuffles the pairs (`batches.order`), and its batches
    equal those of `batch`.
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
            name: name of the data set, including the split; the pairs depend on it.
            sha256: hash of the digits' files, for the provenance.
            seed: seed of the pairs.
            shift: largest shift of a digit in each direction: 4 pixels in the paper, 6 in the released code's README.
            pad: pixels of padding on each side of a digit; larger shifts lose the part outside.
            base_shift: `per_pair`, or `per_image`: all pairs of a base digit share its shift, as in the released code.
            pairs: number of pairs for each base digit.
            nested: True: pair i has the base i % N, so that a smaller set is the start of a larger one. False: pair i
                has the base i // pairs, as in the released code's records.

        Raises:
            Error: all digits are of one class, so that no partner exists.
        """
        self.images = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        self.labels = labels.astype(np.int32)
        self.name, self.sha256, self.seed = name, sha256, seed
        self.shift, self.base_shift, self.pairs_per_digit, self.nested = shift, base_shift, pairs, nested
        self.image_shape: tuple[int, int, int] = self.images.shape[1:]
        self._by_class = np.argsort(self.labels, kind="stable")
        self._counts = np.bincount(self.labels, minlength=self.classes)
        self._starts = np.cumsum(self._counts) - self._counts  # start of each class in `_by_class`
        if self._counts.max(initial=0) == len(labels):
            raise Error(
                f"{name}: expected digits of two classes or more, received {len(labels)} of one; take more digits"
            )

    def __len__(self) -> int:
        return len(self.images) * self.pairs_per_digit

    def pairs(self, numbers: np.ndarray | int) -> Pairs:
        """The pairs with these numbers, each in 0 to len - 1; a pair does not depend on the other numbers.

        The partner is uniform over all digits of the other classes, and each shift over its (2 * shift + 1)^2 values.
        """
        base = self._base(np.asarray(numbers))
        words = hashing.words(("multimnist", self.name, self.seed), numbers, _WORDS)
        label = self.labels[base]
        place = hashing.below(words[..., 0], len(self.labels) - self._counts[label])
        place += self._counts[label] * (place >= self._starts[label])  # skips the base's own class
        base_word = words[..., 1]
        if self.base_shift == "per_image":
            base_word = hashing.words(("multimnist base shift", self.name, self.seed), base, 1)[..., 0]
        return Pairs(base, self._by_class[place], self._shifts(base_word), self._shifts(words[..., 2]))

    def _base(self, numbers: np.ndarray) -> np.ndarray:
        if not self.nested:
            return numbers // self.pairs_per_digit
        if (numbers >= len(self)).any():
            raise IndexError(f"{self.name}: expected pairs below {len(self)}, received {numbers.max()}")
        return numbers % len(self.labels)

    def _shifts(self, word: np.ndarray) -> np.ndarray:
        side = 2 * self.shift + 1
        return np.stack(np.divmod(hashing.below(word, side * side), side), axis=-1) - self.shift

    def rendered(self, numbers: np.ndarray) -> tuple[Images, Images, Images, np.ndarray]:
        """Renders the pairs with these numbers.

        Returns:
            Merged image min(255, first + second), base digit and partner, each uint8 `(B, H, W, 1)`, and the two
            labels, int32 `(B, 2)`.
        """
        return self._rendered(self.stored, self._drawn(numbers))

    def batch(self, indices: np.ndarray) -> Batch:
        """The pairs with these indices; the targets are the base digit, then its partner."""
        return self.render(self.stored, self._drawn(indices))

    @property
    def stored(self) -> Arrays:
        """The padded digits, uint8 `(N, H, W, 1)`, and their labels, int32 `(N,)`."""
        return {"images": self.images, "labels": self.labels}

    def draw(self, indices: np.ndarray, generator: np.random.Generator) -> Arrays:
        """`Pairs` in 16 bytes a pair; nothing is random, since the shifts of a pair are fixed."""
        return self._drawn(indices)

    def render(self, stored: Arrays, drawn: Arrays) -> Batch:
        """The pairs of `draw`."""
        merged, first, second, labels = self._rendered(stored, drawn)
        return Batch(unit(merged), labels, unit(merged.__array_namespace__().stack([first, second], axis=1)))

    def _drawn(self, numbers: np.ndarray) -> Arrays:
        base, top, *shifts = self.pairs(numbers)
        digits = np.stack([base, top], axis=-1).astype(np.int32)  # (B, 2)
        return {"digits": digits, "shifts": np.stack(shifts, axis=1).astype(np.int16)}  # (B, 2, 2): digit, direction

    def _rendered(self, stored: Arrays, drawn: Arrays) -> tuple[Images, Images, Images, np.ndarray]:
        # The digits are padded, then shifted, as the released writer does.
        first, second = (
            shifted(stored["images"][drawn["digits"][:, digit]], drawn["shifts"][:, digit], self.shift)
            for digit in range(2)
        )
        merged = first + first.__array_namespace__().minimum(second, 255 - first)
        return merged, first, second, stored["labels"][drawn["digits"]]


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
    """Loads the digits of one MNIST split and pairs them.

    Test pairs are nested, so that tests on 10,000 and on 100,000 pairs share the first 10,000. Training pairs are
    numbered digit by digit, as for the training of the published weights.

    Args:
        folder: holds MNIST's files, see `mnist.load`.
        split: `train` or `test`; no pair mixes digits of both.
        shift: see `MultiMnist`.
        base_shift: `per_pair` or `per_image`, see `MultiMnist`.
        pairs: number of pairs for each base digit; the paper's 1,000 make 60 million and 10 million pairs.
        validate: see `mnist.load`.
        examples: number of digits to take from the start of the split, for base and partner; None: all.
        sha256: hash of MNIST's files, for the provenance.
        seed: seed of the pairs, independent of the training's.

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
    """All pairs of a small data set, as arrays for storage.

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
    """Writes `index(dataset)` atomically to an uncompressed .npz file; equal pairs give equal bytes."""
    with files.replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **index(dataset))
