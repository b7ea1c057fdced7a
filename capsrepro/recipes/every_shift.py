"""MNIST as the released code trains on it: all shifts of all digits listed, none drawn."""

from pathlib import Path

import numpy as np

from capsrepro.data import loading
from capsrepro.data.batches import Batch, Dataset, shifted, unit
from capsrepro.data.mnist import Mnist
from capsrepro.recipes.trainings import Training


class EveryShift(Mnist):
    """Every digit at every shift, as the released code has them on disk; nothing is drawn in training.

    The released reader shuffles 5,000 of them at a time, in which a digit's copies are neighbours; here all are.
    """

    @property
    def _side(self) -> int:
        return 2 * self.shift + 1

    def __len__(self) -> int:
        return super().__len__() * self._side**2

    def batch(self, indices: np.ndarray) -> Batch:
        """Image i is digit i // 25, at the shift i % 25 of those in order, row shift outer."""
        digits, places = np.divmod(indices, self._side**2)
        shifts = np.stack(np.divmod(places, self._side), axis=-1) - self.shift  # (B, 2)
        return self._batch(unit(shifted(self.images[digits], shifts)), digits)

    def distorted(self, indices: np.ndarray, generator: np.random.Generator) -> Batch:
        """The same: an image of the list has its shift already."""
        return self.batch(indices)


def load(training: Training, folder: Path, scale: str) -> Dataset:
    """The training set that a training wants, from the data sets in `folder`; for errors see `loading.load`."""
    dataset = loading.load(training.settings, "train", folder, scale)
    if "every_shift" not in training.changed or not isinstance(dataset, Mnist):
        return dataset
    name = f"{dataset.name}, every shift"
    return EveryShift(dataset.images, dataset.labels, name=name, sha256=dataset.sha256, shift=dataset.shift)
