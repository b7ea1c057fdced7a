"""A trained network against a whole test split. Evaluators count; they divide once, at the end."""

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np

from capsrepro import losses, models
from capsrepro.data.batches import Dataset
from capsrepro.errors import Error
from capsrepro.intervals import wilson


@dataclasses.dataclass(frozen=True)
class Score:
    """How many images were wrong, out of how many. An image is right if all of its digits are."""

    wrong: int
    examples: int

    @property
    def error_pct(self) -> float:
        """The error in percent."""
        return 100.0 * self.wrong / self.examples

    @property
    def interval_pct(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the error, in percent."""
        return wilson(self.wrong, self.examples)


def evaluate(model: keras.Model, dataset: Dataset, batch_size: int = 500) -> Score:
    """Counts the wrong images of a whole split, in constant memory.

    Raises:
        Error: a score is not finite: such a network is broken, not wrong.
    """
    wrong = examples = 0
    for scores, labels in _scored(model, dataset, batch_size):
        truth = np.eye(dataset.classes, dtype=np.float32)[labels].sum(axis=1)
        right = keras.ops.convert_to_numpy(losses.both_right(truth, scores, digits=dataset.digits))
        wrong += len(right) - int(right.sum())
        examples += len(right)
    return Score(wrong, examples)


def _scored(model: keras.Model, dataset: Dataset, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scores `(B, C)` and labels `(B, T)` of one batch after the other."""
    classifier = models.classifier(model)
    for start in range(0, len(dataset), batch_size):
        batch = dataset.batch(np.arange(start, min(start + batch_size, len(dataset))))
        scores = classifier.predict_on_batch(batch.images)
        if not np.isfinite(scores).all():
            raise Error(f"{model.name} on {dataset.name}: a score of image {start} or one soon after it is not finite")
        yield scores, batch.labels
