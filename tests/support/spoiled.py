"""A data set with one batch that makes the loss NaN, on the host and on a device."""

import numpy as np

from capsrepro.data import batches
from capsrepro.data.batches import Arrays, Batch
from capsrepro.data.mnist import Mnist


class Spoiled(Mnist):
    """Digits whose targets are NaN in the batch that is drawn from a certain generator."""

    spoiled: np.random.Generator

    def draw(self, indices: np.ndarray, generator: np.random.Generator) -> Arrays:
        """Also whether the batch is spoiled."""
        state, spoiled = generator.bit_generator.state["state"], self.spoiled.bit_generator.state["state"]
        same = all(np.array_equal(state[part], spoiled[part]) for part in ("key", "counter"))
        factor = np.full(len(indices), np.nan if same else 1.0, np.float32)
        return {**super().draw(indices, generator), "factor": factor}

    def render(self, stored: Arrays, drawn: Arrays) -> Batch:
        """The digits with their targets spoiled."""
        batch = super().render(stored, drawn)
        return batch._replace(targets=batch.targets * drawn["factor"][:, None, None, None, None])


def spoiled_at(step: int, few: Mnist, seed: int = 0) -> Spoiled:
    """The data set whose batch number `step` of a training with this seed is spoiled."""
    digits = Spoiled(few.images, few.labels, name=few.name, sha256=few.sha256, shift=few.shift)
    digits.spoiled = batches.generator(seed, batches._DISTORTION, step)
    return digits
