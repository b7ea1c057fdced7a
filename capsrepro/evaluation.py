"""Trained networks against a whole test split. Evaluators count; they divide once, at the end."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from capsrepro import checkpoints, losses, models
from capsrepro.data.batches import Dataset
from capsrepro.errors import Error
from capsrepro.intervals import wilson
from capsrepro.params import Run


@dataclasses.dataclass(frozen=True)
class Score:
    """How many images were wrong, out of how many. An image is right if all of its digits are."""

    wrong: int
    examples: int
    none_right: int  # of the wrong ones: those with no digit right, which is all of them where there is one digit
    digits: int = 1

    @property
    def error_pct(self) -> float:
        """The error in percent; on pairs: that not both digits are right, the paper's measure."""
        return 100.0 * self.wrong / self.examples

    @property
    def digit_error_pct(self) -> float:
        """The share of digits that are wrong, in percent: what others publish on pairs."""
        return 100.0 * self.digits_wrong / (self.digits * self.examples)

    @property
    def digits_wrong(self) -> int:
        """How many digits were wrong, of one or two in each image."""
        return self.wrong if self.digits == 1 else self.wrong + self.none_right

    @property
    def interval_pct(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the error, in percent."""
        return wilson(self.wrong, self.examples)


def metrics(score: Score, run: Run, members: Sequence[keras.Model]) -> dict[str, Any]:
    """What a metrics file says of a run beside its name, seed and scale: equal for equal weights and data."""
    low, high = score.interval_pct
    facts = {
        "recipe": run.recipe,
        "routing": run.routing,
        "reconstruction": run.reconstruction,
        "wrong": score.wrong,
        "examples": score.examples,
        "test_error_pct": score.error_pct,
        "wilson_low_pct": round(low, 4),
        "wilson_high_pct": round(high, 4),
    }
    if score.digits > 1:
        facts |= {"digits_wrong": score.digits_wrong, "digit_error_pct": score.digit_error_pct}
    return facts | {
        "parameters": members[0].count_params(),
        "steps": run.steps,
        "weights_sha256": checkpoints.weights_sha256(*members),
    }


def evaluate(
    members: keras.Model | Sequence[keras.Model], dataset: Dataset, batch_size: int = 500, examples: int | None = None
) -> Score:
    """Counts the wrong images of a split, in constant memory.

    Args:
        members: one network, or several whose class scores are added up.
        dataset: the split.
        batch_size: of the forward passes.
        examples: only the first so many; None: all.

    Raises:
        Error: a score is not finite: such a network is broken, not wrong.
    """
    members = [members] if isinstance(members, keras.Model) else members
    return count(scored([models.classifier(member) for member in members], dataset, batch_size, examples), dataset)


def count(scores_and_labels: Iterable[tuple[np.ndarray, np.ndarray]], dataset: Dataset) -> Score:
    """Counts over batches of scores `(B, C)` and labels `(B, T)`."""
    both = some = examples = 0
    for scores, labels in scores_and_labels:
        truth = np.eye(dataset.classes, dtype=np.float32)[labels].max(axis=1)
        both += int(keras.ops.sum(losses.both_right(truth, scores, digits=dataset.digits)))
        some += int(keras.ops.sum(losses.any_right(truth, scores, digits=dataset.digits)))
        examples += len(labels)
    return Score(examples - both, examples, examples - some, dataset.digits)


def scored(
    classifiers: Sequence[keras.Model], dataset: Dataset, batch_size: int, examples: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scores `(B, C)`, added up over the networks, and labels `(B, T)` of one batch after the other.

    Raises:
        Error: a score is not finite.
    """
    size = len(dataset) if examples is None else min(examples, len(dataset))
    for start in range(0, size, batch_size):
        batch = dataset.batch(np.arange(start, min(start + batch_size, size)))
        scores = sum(classifier.predict_on_batch(batch.images) for classifier in classifiers)
        yield finite(scores, f"{classifiers[0].name} on {dataset.name}, images from {start}"), batch.labels


def finite(scores: np.ndarray, where: str) -> np.ndarray:
    """The scores, if they are finite.

    Raises:
        Error: they are not.
    """
    if not np.isfinite(scores).all():
        raise Error(f"{where}: a score is not finite; train again or fetch the checkpoint again")
    return scores
